"""Which weights are stepped together, and on which threads."""
