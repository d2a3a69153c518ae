"""Shapes of schedules, and the schedulers that follow them."""
