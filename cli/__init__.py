"""The command line: one file per command, nothing but options, progress and printing."""
