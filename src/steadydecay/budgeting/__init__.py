"""What a run will take, counted before it is trained."""
