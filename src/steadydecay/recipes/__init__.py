"""Models, data and training runs in which the optimizers are compared."""
