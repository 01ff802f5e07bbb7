"""Searches and all that is shown of them, as plain functions and over HTTP."""
