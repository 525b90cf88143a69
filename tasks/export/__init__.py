"""The good pairs of a run, packed for others: folders, Parquet or tars, with a card that says what they are."""
