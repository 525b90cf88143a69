"""One page about a run that opens by double click: counts, distributions, failures, and pictures by printed rules."""
