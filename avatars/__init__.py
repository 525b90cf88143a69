"""The embedded default: a small world of drawn faces whose truth is known."""
