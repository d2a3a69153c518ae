"""What an optimizer does to its weights while it trains, measured beside what the theory predicts."""
