"""The page of `steadydecay explore`: pictures of what `steadydecay.theory` computes, and their controls."""
