"""What training and evaluation read: albums, rendered photos, gRefCOCO, and batches of them."""
