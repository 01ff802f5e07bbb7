"""Evaluation sets, metrics, and the reports that are made of them."""
