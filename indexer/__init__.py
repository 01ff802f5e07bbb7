"""From folders of photos to cached features: catalog, scan, decoding, store, jobs."""
