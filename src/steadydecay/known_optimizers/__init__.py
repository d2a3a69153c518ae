"""What is known of the optimizers that others wrote, and of ours."""
