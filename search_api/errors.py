"""What can go wrong while searching, each with a sentence that says what to do.

The HTTP layer maps each class to a status in ``problems.py``; the command line prints the sentence.
"""

from __future__ import annotations

from model.errors import ReferentError


class SearchError(ReferentError):
    """The root of this package's errors; ``field`` names the part of the query that is at fault."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class BadQuery(SearchError):
    """A part of the query cannot be used."""


class BadCursor(SearchError):
    """A cursor was not made by this search run or listing."""


class NotFound(SearchError):
    """A thing that was asked for by its id does not exist (any more)."""


class UnknownPhoto(NotFound):
    """No photo has this id, or it was removed from the album."""


class UnknownRun(NotFound):
    """No search run has this id, or it was pruned."""


class PhotoVanished(SearchError):
    """The photo's file is gone or changed since it was indexed."""


class NotIndexed(SearchError):
    """The album (or the photo) has no features of the model that is asked to search."""


class StillRunning(SearchError):
    """A search run cannot be paged before it has ended."""


class AlreadyExists(SearchError):
    """A thing of this name exists already."""


class TooBusy(SearchError):
    """More searches are running and waiting than the server admits."""

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Stopping(SearchError):
    """The server was told to end before the search did."""


class TooLarge(SearchError):
    """A request body, a photo or an upload is larger than a limit."""


class Unauthenticated(SearchError):
    """A key is missing, unknown or revoked."""


class Forbidden(SearchError):
    """The key is good but lacks the scope, or the request comes from elsewhere."""


class RefusedToStart(SearchError):
    """The server would be reachable by others without a key."""
