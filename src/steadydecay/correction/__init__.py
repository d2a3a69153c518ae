"""VERB: weight decay that follows the schedule, and its rivals."""
