"""What all recipes share: how they end, how far they are, what they publish."""
