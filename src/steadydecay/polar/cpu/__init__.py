"""Products on a CPU."""
