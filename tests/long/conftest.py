"""Fixtures of the fault trials."""

from trials import expected, photos, record

__all__ = ["expected", "photos", "record"]
