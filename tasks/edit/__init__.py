"""An edit run: its plan, its shards, its rows and its summary."""
