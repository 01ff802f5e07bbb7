"""Fixtures of the fault trials."""

from trials import expected, model, photos, record

__all__ = ["expected", "model", "photos", "record"]
