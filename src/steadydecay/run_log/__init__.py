"""The records of a run: one writer, one reader, and where else numbers go."""
