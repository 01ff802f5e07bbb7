"""Cached features: segments, the store, vectors for the prefilter, versions, upkeep."""
