"""The command line, and in Python ``from referent import Referent``.

Our packages have plain names (`model`, `training`, ...). A file of that name where Python looks
first would be taken for ours, far from the place that says so; it is named here instead.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from referent.answers import Answer, Referent

__all__ = ["Answer", "Referent", "__version__"]

_ROOT = Path(__file__).resolve().parent.parent
_OURS = ("model", "training", "indexer", "search_api", "workers")


def _taken() -> Path | None:
    """The first file that stands in the place of one of our packages."""
    for name in _OURS:
        spec = find_spec(name)
        where = Path(spec.origin).resolve() if spec is not None and spec.origin else None
        if where is not None and where != _ROOT / name / "__init__.py":
            return where
    return None


def _make_room() -> None:
    if (where := _taken()) is None:
        return
    if sys.argv[:1] == ["-m"]:  # `python -m referent.main`, torchrun: nobody else's code runs here
        sys.path.insert(0, str(_ROOT))
        where = _taken()
    if where is not None:
        raise ImportError(
            f"{where} has the name of a package of Referent, and Python finds it first: rename "
            "it, or start from another folder"
        )


_make_room()


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("referent")
    if name in ("Answer", "Referent"):  # torch is loaded only for these
        from referent import answers

        return getattr(answers, name)
    raise AttributeError(f"module 'referent' has no attribute {name!r}")
