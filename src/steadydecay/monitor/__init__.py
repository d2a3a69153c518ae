"""Measure what an optimizer does to its weights while it trains, and compare it with what the theory predicts."""
