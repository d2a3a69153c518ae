"""Decide which weights are stepped together, and on which threads."""
