"""The correction inside the trainers of other packages. Each file needs its own extra."""
