"""Sweeps: the trials that a grid or a list describes, their result tables, and what those tables say."""
