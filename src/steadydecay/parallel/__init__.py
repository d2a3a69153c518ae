"""Decide which rank computes which update, and exchange data between the ranks of torch.distributed."""
