"""Inspect a checkpoint: the norms of its weights beside the steady state that hyperparameters predict."""
