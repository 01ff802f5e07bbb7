"""What an export calls each photo, and where its reader finds the file."""

from __future__ import annotations

from collections.abc import Callable

from indexer.db.names import comparable
from search_api.search.photos import PhotoInfo

Address = Callable[[PhotoInfo], str]


def on_this_machine(photo: PhotoInfo) -> str:
    """A photo's file as an address for programs on this machine; not for clients of the API."""
    return photo.file.as_uri()


class FileNames:
    """A name for each photo of an export: album and path, told apart where two would be the same.

    The same path can be in two folders of one album, or differ in nothing but the case of letters
    or their Unicode form, which some file systems take for the same name.
    """

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}

    def of(self, photo: PhotoInfo) -> str:
        """The same name for the same photo, and never another one's."""
        whole = f"{photo.album.replace('/', '_')}/{photo.path}"
        stem, dot, suffix = whole.rpartition(".")
        if not dot or "/" in suffix:
            stem, dot, suffix = whole, "", ""
        name, number = whole, photo.id
        while self._taken.setdefault(comparable(name).casefold(), photo.id) != photo.id:
            name = f"{stem}-{number}{dot}{suffix}"
            number += 1
        return name
