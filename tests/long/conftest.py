"""Fixtures of the fault trials."""

from tests.support.trials import expected, library, photos, record, trials

__all__ = ["expected", "library", "photos", "record", "trials"]
