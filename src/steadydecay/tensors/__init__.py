"""Pure functions on tensors that know nothing of optimizers."""
