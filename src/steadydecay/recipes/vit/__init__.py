"""The ViT recipe."""
