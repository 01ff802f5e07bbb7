"""Include and exclude globs over paths below a root, whatever form their names are written in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Self

from indexer.db.names import comparable, comparable_path

# What a photo is called; content decides how it is decoded, so a wrong one of these is no harm.
EXTENSIONS = frozenset(
    b"jpg jpeg jpe jfif mpo png apng gif webp avif avifs heic heics heif heifs hif tif tiff "
    b"bmp dib ico ppm pgm pbm pnm jp2 j2k jpf jpx jpc qoi".split()
)

# What a file is called that came without any of these, by Pillow's name of its format.
EXTENSION_OF = {
    "JPEG": "jpg", "MPO": "jpg", "PNG": "png", "GIF": "gif", "WEBP": "webp", "AVIF": "avif",
    "HEIF": "heic", "TIFF": "tif", "BMP": "bmp", "DIB": "bmp", "ICO": "ico", "PPM": "ppm",
    "JPEG2000": "jp2", "QOI": "qoi",
}  # fmt: skip

# Hidden files; thumbnails, bins, snapshots and versions that systems and programs keep for
# themselves: what was deleted, or a photo a second time, never photos that someone keeps.
DEFAULT_EXCLUDE = (
    ".*",
    *("@eaDir", "#recycle", "#snapshot"),  # Synology
    *("@Recycle", "@Recently-Snapshot", "@__thumb"),  # QNAP
    *("$RECYCLE.BIN", "RECYCLER", "RECYCLED", "System Volume Information"),  # Windows
    *("__MACOSX", "lost+found", "files_trashbin", "files_versions", "appdata_*"),
    *(f"**/*.photoslibrary/{name}" for name in ("database", "private", "resources", "scopes")),
    *(
        f"**/*.{kind}library/{name}"
        for kind in ("photo", "ap")
        for name in ("Thumbnails", "Previews")
    ),
    "*.lrdata",
)


def is_photo_name(name: bytes) -> bool:
    """Whether a file's name ends as a photo's does."""
    return extension(name) in EXTENSIONS


class Globs:
    """Which files of a root belong to an album.

    A glob without ``/`` matches any single name on the way (``raw``, ``*.gif``); one with ``/``
    matches the whole path below the root (``2019/*/raw/**``). ``*`` and ``?`` stay within a name,
    ``**`` crosses folders. A glob that matches a folder covers what is below it. Neither case nor
    the form of accented letters counts. A file is taken when its extension is a photo's, no
    exclude glob covers it and, where there are include globs, one of them does.
    """

    def __init__(
        self,
        include: Iterable[str] = (),
        exclude: Iterable[str] = (),
        *,
        everything: bool = False,
        root_name: bytes = b"",
    ) -> None:
        """Compile globs.

        Args:
            everything: take also what `DEFAULT_EXCLUDE` leaves out.
            root_name: of the root itself, which may be one of the libraries that those name.
        """
        self.everything = everything
        self._include = _compile(include, below=True)
        self._exclude = _compile(exclude, below=False)
        self._usual = None if everything else _compile(DEFAULT_EXCLUDE, below=False)
        self._root = comparable_path(root_name) + "/" if root_name else ""

    @classmethod
    def of(cls, settings: Mapping[str, Any], root_name: bytes = b"") -> Self:
        """The globs of an album, by its settings."""
        return cls(
            settings.get("include", ()),
            settings.get("exclude", ()),
            everything=bool(settings.get("everything", False)),
            root_name=root_name,
        )

    def skips_folder(self, path: bytes) -> bool:
        """Whether a folder (relative path) is excluded, and with it all below."""
        return self._excludes(comparable_path(path))

    def is_systems(self, path: bytes) -> bool:
        """Whether `DEFAULT_EXCLUDE` itself leaves a path out."""
        return self._usual is not None and (
            self._usual.match(self._root + comparable_path(path)) is not None
        )

    def takes_file(self, path: bytes) -> bool:
        """Whether a file (relative path), whose folders are not excluded, is taken."""
        if not is_photo_name(path):
            return False
        text = comparable_path(path)
        if self._excludes(text):
            return False
        return self._include is None or self._include.match(text) is not None

    def takes(self, path: bytes) -> bool:
        """Whether a file is taken, looking at its folders as well."""
        return self.takes_file(path) and not any(map(self.skips_folder, folders_above(path)))

    def _excludes(self, text: str) -> bool:
        if self._exclude is not None and self._exclude.match(text):
            return True
        return self._usual is not None and self._usual.match(self._root + text) is not None


class Ignored:
    """What the ignore files of some folders leave out below them."""

    def __init__(self) -> None:
        self._below: dict[bytes, re.Pattern[str]] = {}

    def add(self, folder: bytes, globs: Iterable[str]) -> None:
        """Heed the globs of a folder (relative path, ending in ``/`` unless it is the root)."""
        pattern = _compile(globs, below=False)
        if pattern is not None:
            self._below[folder] = pattern

    def covers(self, path: bytes) -> bool:
        """Whether a path, whose folders are not covered, is left out."""
        return any(
            path.startswith(folder) and pattern.match(comparable_path(path[len(folder) :]))
            for folder, pattern in self._below.items()
        )


def extension(path: bytes) -> bytes:
    """What follows the last dot, in lower case."""
    return path.rpartition(b".")[2].lower()


def folders_above(path: bytes) -> list[bytes]:
    """The folders of a relative path, the outermost first."""
    parts = path.split(b"/")
    return [b"/".join(parts[:end]) for end in range(1, len(parts))]


def _compile(globs: Iterable[str], *, below: bool) -> re.Pattern[str] | None:
    patterns = [_translate(comparable(glob)) for glob in globs if glob.strip("/")]
    if not patterns:
        return None
    end = r"(?:/.*)?\Z" if below else r"\Z"
    return re.compile("(?:" + "|".join(patterns) + ")" + end, re.DOTALL | re.IGNORECASE)


def _translate(glob: str) -> str:
    anchored = "/" in glob.strip("/")
    glob = glob.strip("/")
    out = "" if anchored else "(?:.*/)?"
    position = 0
    while position < len(glob):
        if glob.startswith("**/", position):
            out += "(?:.*/)?"
            position += 3
        elif glob.startswith("**", position):
            out += ".*"
            position += 2
        elif glob[position] == "*":
            out += "[^/]*"
            position += 1
        elif glob[position] == "?":
            out += "[^/]"
            position += 1
        elif glob[position] == "[" and "]" in glob[position + 2 :]:
            end = glob.index("]", position + 2)
            inside = glob[position + 1 : end].replace("\\", r"\\").replace("[", r"\[")
            if inside[:1] in ("!", "^"):
                inside = "^/" + inside[1:]
            out += "[" + inside + "]"
            position = end + 1
        else:
            out += re.escape(glob[position])
            position += 1
    return out
