"""Who says whether an edit of an avatar did what its words said."""
