"""The HTTP application: routes, schemas, keys, limits, sessions, and the page."""
