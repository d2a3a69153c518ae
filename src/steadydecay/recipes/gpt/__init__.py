"""The GPT recipe."""
