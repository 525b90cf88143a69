"""Is what a run has written still what it wrote? And if not: exactly that again."""
