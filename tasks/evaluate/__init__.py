"""Scores and comparisons of methods; the only room that knows the embedded world."""
