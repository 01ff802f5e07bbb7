"""Long jobs: their rows, the places in them, and what they could not handle."""
