"""Opaque cursors: where a page ended, in a form that a client hands back unread."""

from __future__ import annotations

import base64
import binascii

from search_api.errors import BadCursor

MAX_POSITION = 2**53


def make_cursor(listing: str, position: int) -> str:
    """A cursor that continues ``listing`` (a run's id, a listing's name) after ``position``."""
    return base64.urlsafe_b64encode(f"{listing}:{position}".encode()).decode().rstrip("=")


def read_cursor(cursor: str | None, listing: str, *, start: int = 0) -> int:
    """The position inside a cursor of this listing, or ``start`` when there is none.

    Raises:
        BadCursor: it is damaged, or belongs to another listing.
    """
    if not cursor:
        return start
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        owner, _, position = (
            base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii").rpartition(":")
        )
        value = int(position)
    except (binascii.Error, ValueError) as error:
        raise BadCursor(
            "The cursor is damaged; start again without one.", field="cursor"
        ) from error
    if owner != listing or not 0 <= value <= MAX_POSITION:
        raise BadCursor(
            "The cursor belongs to another listing; start again without one.", field="cursor"
        )
    return value
