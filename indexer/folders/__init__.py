"""Albums' folders on disk: which files lie there, and rows in line with them."""
