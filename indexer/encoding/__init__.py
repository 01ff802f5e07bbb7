"""Photos that wait become features: claims, batches, commits, and the whole ingest."""
