"""From a rough mask and the photo to a clean cut-out."""
