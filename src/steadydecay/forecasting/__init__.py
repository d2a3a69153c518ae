"""Forecast the weight norms of a run before it is trained: kinds of layers, their trajectories, and their display."""
