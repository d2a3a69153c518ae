"""Monte Carlo of the weight norm."""
