"""Quantizers as pure tensor functions: universal set, normalization, subset and uniform quantization, packing."""
