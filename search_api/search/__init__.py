"""A search from the expression to its decisions, kept as a run; no HTTP."""
