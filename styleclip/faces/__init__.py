"""Faces in photographs: found, and brought into the frame that generators know."""
