"""Synthetic photos: who is in a scene, where, and how each thing is painted, with exact masks."""
