"""The optimizers, one in each file."""
