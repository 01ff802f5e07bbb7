"""Synthetic photos, their language, the trainer and the measures; stands on the model alone."""
