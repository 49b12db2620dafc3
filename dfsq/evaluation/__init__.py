"""Evaluation: images, MATLAB bicubic, benchmark folders, metrics and the loop that puts them together."""
