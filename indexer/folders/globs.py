"""Include and exclude globs over paths below a root, whatever form their names are written in."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Self

from indexer.db.names import comparable, comparable_path

# What a photo is called; content decides how it is decoded, so a wrong one of these is no harm.
EXTENSIONS = frozenset(
    b"jpg jpeg jpe jfif mpo png apng gif webp avif avifs heic heics heif heifs hif tif tiff "
    b"bmp dib ico ppm pgm pbm pnm jp2 j2k jpf jpx jpc qoi".split()
)

# Cameras' RAW files: photos where they are read (`reads_raw`), else of a kind that is not.
RAW = frozenset(
    b"3fr ari arw bay cr2 cr3 crw dcr dng erf fff iiq k25 kdc mef mos mrw nef nrw orf pef raf raw "
    b"rw2 rwl sr2 srf srw x3f".split()
)

# What a file is called that came without any of these, by Pillow's name of its format.
EXTENSION_OF = {
    "JPEG": "jpg", "MPO": "jpg", "PNG": "png", "GIF": "gif", "WEBP": "webp", "AVIF": "avif",
    "HEIF": "heic", "TIFF": "tif", "BMP": "bmp", "DIB": "bmp", "ICO": "ico", "PPM": "ppm",
    "JPEG2000": "jp2", "QOI": "qoi", "RAW": "dng",
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
    kind = extension(name)
    return kind in EXTENSIONS or (kind in RAW and reads_raw())


@cache
def reads_raw() -> bool:
    """Whether the extra ``raw`` is installed."""
    return importlib.util.find_spec("rawpy") is not None


class Globs:
    """Which files of a root belong to an album.

    A glob without ``/`` matches any single name on the way (``raw``, ``*.gif``); one with ``/``
    matches the whole path below the root (``2019/*/raw/**``). ``*`` and ``?`` stay within a name,
    ``**`` in place of a name stands for any number of folders. A glob that matches a folder covers
    what is below it. Neither case nor the form of accented letters counts. A file is taken when its
    extension is a photo's, no exclude glob covers it and, where there are include globs, one of
    them does.
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
        self._include = compile_globs(include, below=True)
        self._exclude = compile_globs(exclude)
        self._usual = None if everything else compile_globs(DEFAULT_EXCLUDE)
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
        pattern = compile_globs(globs)
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


def compile_globs(globs: Iterable[str], *, below: bool = False) -> re.Pattern[str] | None:
    """An expression that matches what one of the globs covers; None where there is none.

    No glob takes more than (its folders x the path's folders x the length of a name) steps: what
    stands between two stars is looked for once, and never again further on.

    Args:
        below: also what lies below it.
    """
    patterns = [_translate(comparable(glob)) for glob in globs if glob.strip("/")]
    if not patterns:
        return None
    end = r"(?:/.*)?\Z" if below else r"\Z"
    return re.compile("(?:" + "|".join(patterns) + ")" + end, re.DOTALL | re.IGNORECASE)


def _translate(glob: str) -> str:
    folders = [folder for folder in glob.split("/") if folder]
    if len(folders) == 1:
        return "(?:.*/)?" + (".*" if folders[0] == "**" else _name(folders[0]))
    runs: list[list[str]] = [[]]  # of folders, with any number of others between two runs
    for folder in folders:
        if folder != "**":
            runs[-1].append(_name(folder))
        elif runs[-1] or len(runs) == 1:
            runs.append([])
    first, *middle = ["/".join(run) for run in runs]
    if not middle:
        return first
    *middle, last = middle
    out = first + "/" if first else ""
    out += "".join(f"(?>(?:[^/]*/)*?{run}/)" for run in middle)
    return out + ("(?:[^/]*/)*" + last if last else ".*")


def _name(glob: str) -> str:
    """An expression for one name; it never crosses a folder."""
    pieces, position = [""], 0  # with a star between two
    while position < len(glob):
        at = glob[position]
        position += 1
        if at == "*":
            if pieces[-1] or len(pieces) == 1:
                pieces.append("")
        elif at == "?":
            pieces[-1] += "[^/]"
        elif at == "[" and "]" in glob[position + 1 :]:
            end = glob.index("]", position + 1)
            pieces[-1] += _one_of(glob[position:end])
            position = end + 1
        else:
            pieces[-1] += re.escape(at)
    first, *rest = pieces
    if not rest:
        return first
    *between, last = rest
    return first + "".join(f"(?>[^/]*?{piece})" for piece in between) + "[^/]*" + last


def _one_of(inside: str) -> str:
    negated = inside[0] in "!^"
    some = re.sub(r"([\\\[\]^&~|])", r"\\\1", inside[negated:])
    try:
        re.compile(f"[{some}]")
    except re.error:  # a range from high to low holds nothing
        return "[^/]" if negated else "(?!)"
    return f"(?!/)[{'^' * negated}{some}]"
