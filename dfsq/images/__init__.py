"""Image files: reading whatever people have, and writing pictures without loss."""
