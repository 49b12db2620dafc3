"""LR image in, SR image out: whatever runs the network."""
