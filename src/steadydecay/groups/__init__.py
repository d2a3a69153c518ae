"""From a model to parameter groups, and what a group says."""
