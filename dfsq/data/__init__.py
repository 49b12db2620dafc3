"""The checkpoint that comes with the package."""
