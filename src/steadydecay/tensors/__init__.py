"""Pure functions on tensors. Nothing here depends on an optimizer."""
