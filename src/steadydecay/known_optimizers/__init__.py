"""What the package knows about optimizers, its own and those of other packages."""
