"""Sweeps: which trials a grid or a list means, the tables they end in, and what those tables say."""
