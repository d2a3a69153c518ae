"""The weight norms of a run before it is trained: kinds of layers, their trajectories, and how they are shown."""
