"""Who computes which update, and how the ranks of torch.distributed exchange what they hold."""
