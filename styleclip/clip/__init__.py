"""CLIP through open_clip."""
