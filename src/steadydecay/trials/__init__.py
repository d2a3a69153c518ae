"""Many runs at once: which are missing, and worker processes that train them."""
