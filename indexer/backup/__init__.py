"""A library's backup: made while it serves, restored into any place and either database."""
