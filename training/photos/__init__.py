"""Real photographs for training: annotated folders read, looked at once by the trunk, told."""
