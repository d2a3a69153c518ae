"""Build parameter groups from a model, and read what a group says."""
