"""The paper's experiments by name, and the comparison of optimizers."""
