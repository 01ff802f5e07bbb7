"""Messages to clients hold no path of the server: of a path they see the last part."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import select

from indexer.db.catalog import Catalog
from indexer.db.names import shown_path
from indexer.db.tables import Root
from indexer.settings import Settings
from model.errors import ReferentError

# An absolute path of two parts or more, or a database's address; not the API's own (/v1/...), nor
# a slash inside a word.
_ABSOLUTE = re.compile(
    r"(?<![\w.~<>*/…-])(?:[a-z0-9+]+://[^\s/]*)?/+(?!v1/)(?:[^\s/'\",;()]+/)+|[a-z0-9+]+://[^\s/]*/+"
)
_KEPT = "…/"


class PathHider:
    """Takes the server's folders out of texts, those with blanks in their names as well."""

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        self._settings = settings
        self._catalog = catalog

    def __call__(self, text: str) -> str:
        """The text with ``…/`` for each folder of the server."""
        if "/" not in text:
            return text
        for folder in self._folders():
            text = text.replace(folder + "/", _KEPT).replace(folder, "…")
        return _ABSOLUTE.sub(_KEPT, text)

    def within(self, value: Any) -> Any:
        """The same for every text in a JSON value."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, dict):
            return {key: self.within(each) for key, each in value.items()}
        return [self.within(each) for each in value] if isinstance(value, list) else value

    def _folders(self) -> list[str]:
        """Folders that are known by name, the longest first."""
        own = self._settings
        known = {str(each) for each in (own.home, own.features_dir, own.exports_dir)}
        try:
            with self._catalog.reading() as session:
                roots = session.scalars(select(Root.path)).all()
        except ReferentError:  # the text may well say that the catalog does not answer
            roots = ()
        known |= {shown_path(root) for root in roots}
        return sorted((each for each in known if len(each) > 1), key=len, reverse=True)
