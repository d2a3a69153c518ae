"""The records of a training run: one writer, one reader, and functions that pass metrics to other loggers."""
