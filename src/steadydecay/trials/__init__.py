"""Many runs at once: find the missing ones, and train them in worker processes."""
