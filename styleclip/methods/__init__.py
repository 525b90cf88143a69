"""The three methods of editing behind one face: words and inverted images in, edited images out."""
