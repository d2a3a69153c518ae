"""The models, data and training runs with which optimizers are compared."""
