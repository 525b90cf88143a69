"""A mapper training: codes, groups of attributes trained together, analysis of their steps."""
