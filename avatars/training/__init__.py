"""Recipes that train the avatars world's models; each is one resumable command (`python -m avatars.training`)."""
