"""What avatars are, how they are drawn, and what can be said of them."""
