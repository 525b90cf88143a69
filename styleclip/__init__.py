"""StyleCLIP in plain torch."""
