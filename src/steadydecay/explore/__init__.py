"""The page of `steadydecay explore`: pictures of what `steadydecay.theory` computes, with controls."""
