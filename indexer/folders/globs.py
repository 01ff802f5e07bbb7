"""Include and exclude globs over paths below a root, on bytes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

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

# Hidden files, thumbnails and bins of other programs, never photos that someone keeps.
DEFAULT_EXCLUDE = (".*", "@eaDir", "#recycle", "$RECYCLE.BIN", "__MACOSX", "lost+found")


def is_photo_name(name: bytes) -> bool:
    """Whether a file's name ends as a photo's does."""
    return name.rpartition(b".")[2].lower() in EXTENSIONS


class Globs:
    """Which files of a root belong to an album.

    A glob without ``/`` matches any single name on the way (``raw``, ``*.gif``); one with ``/``
    matches the whole path below the root (``2019/*/raw/**``). ``*`` and ``?`` stay within a name,
    ``**`` crosses folders. A glob that matches a folder covers what is below it. Case counts.
    A file is taken when its extension is a photo's, no exclude glob covers it and, where there are
    include globs, one of them does.
    """

    def __init__(self, include: Iterable[str] = (), exclude: Iterable[str] = ()) -> None:
        self._include = _compile(include, below=True)
        self._exclude = _compile((*DEFAULT_EXCLUDE, *exclude), below=False)

    def skips_folder(self, path: bytes) -> bool:
        """Whether a folder (relative path) is excluded, and with it all below."""
        return self._exclude is not None and self._exclude.match(path) is not None

    def takes_file(self, path: bytes) -> bool:
        """Whether a file (relative path), whose folders are not excluded, is taken."""
        if not is_photo_name(path):
            return False
        if self._exclude is not None and self._exclude.match(path):
            return False
        return self._include is None or self._include.match(path) is not None

    def takes(self, path: bytes) -> bool:
        """Whether a file is taken, looking at its folders as well."""
        parts = path.split(b"/")
        folders = (b"/".join(parts[:end]) for end in range(1, len(parts)))
        return self.takes_file(path) and not any(map(self.skips_folder, folders))


def _compile(globs: Iterable[str], *, below: bool) -> re.Pattern[bytes] | None:
    patterns = [_translate(os.fsencode(glob)) for glob in globs if glob.strip("/")]
    if not patterns:
        return None
    end = rb"(?:/.*)?\Z" if below else rb"\Z"
    return re.compile(b"(?:" + b"|".join(patterns) + b")" + end, re.DOTALL)


def _translate(glob: bytes) -> bytes:
    anchored = b"/" in glob.strip(b"/")
    glob = glob.strip(b"/")
    out = b"" if anchored else b"(?:.*/)?"
    position = 0
    while position < len(glob):
        if glob.startswith(b"**/", position):
            out += b"(?:.*/)?"
            position += 3
        elif glob.startswith(b"**", position):
            out += b".*"
            position += 2
        elif glob[position : position + 1] == b"*":
            out += b"[^/]*"
            position += 1
        elif glob[position : position + 1] == b"?":
            out += b"[^/]"
            position += 1
        elif glob[position : position + 1] == b"[" and b"]" in glob[position + 2 :]:
            end = glob.index(b"]", position + 2)
            inside = glob[position + 1 : end].replace(b"\\", rb"\\").replace(b"[", rb"\[")
            if inside[:1] in (b"!", b"^"):
                inside = b"^/" + inside[1:]
            out += b"[" + inside + b"]"
            position = end + 1
        else:
            out += re.escape(glob[position : position + 1])
            position += 1
    return out
