"""The correction inside the trainers of other packages; each file needs its own extra."""
