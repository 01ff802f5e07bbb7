"""Imports that a person waits for."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Import much at once: modules make many objects that stay, so that nothing is collected.

    A fifth of `import torch` is the collector looking at them again and again.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # they need not be looked at later either
        gc.enable()
