"""Referring expressions: programs with an executable meaning, and the words they are put into."""
