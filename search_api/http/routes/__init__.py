"""Routes: thin shells that check what is asked and call the rooms below."""
