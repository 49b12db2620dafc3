"""Rewrites of an ONNX graph that change its speed and nothing else: one file each."""
