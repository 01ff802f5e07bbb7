"""The page and its files, as they are served."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

_VERSION = re.compile(r"[0-9a-f]{12}")
_KEPT = "public, max-age=31536000, immutable"
_ASKED_ABOUT = "no-cache"


class PageFiles(StaticFiles):
    """The page's files, below the version of all of them as well: there browsers keep them.

    The page names them there, and modules and styles name each other relatively: a browser that
    was here before asks for the page alone, and after an upgrade no old module stays.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory=directory)
        digest = hashlib.sha256()
        for file in sorted(each for each in directory.rglob("*") if each.is_file()):
            digest.update(str(file.relative_to(directory)).encode() + b"\0" + file.read_bytes())
        self.version = digest.hexdigest()[:12]
        html = (directory / "index.html").read_text(encoding="utf-8")
        self._page = re.sub(r'(?<=(?:src|ref)=")static/', f"static/{self.version}/", html)

    async def page(self) -> Response:
        """The page, which is asked about each time."""
        headers = {"Cache-Control": _ASKED_ABOUT, "ETag": f'"{self.version}"'}
        return HTMLResponse(self._page, headers=headers)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file; of another version (an old page's, another server's) it is not kept."""
        version, _, rest = path.partition("/")
        versioned = _VERSION.fullmatch(version) is not None
        response = await super().get_response(rest if versioned else path, scope)
        kept = version == self.version and response.status_code == 200
        response.headers["Cache-Control"] = _KEPT if kept else _ASKED_ABOUT
        return response
