"""Measurements that take long: each module prints a table of the documentation, or ratios. None is a test."""
