"""The `styleclip` command line: a thin front on the flows."""
