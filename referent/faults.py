"""What a command says of a fault that nobody foresaw: a sentence, and where the trace is."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from pydantic import ValidationError

UNFORESEEN = 70  # EX_SOFTWARE; 1 says that nothing matches, 2 that the user can mend it


def told(error: Exception) -> tuple[int, str]:
    """The exit status and the sentence for an error that is none of ours.

    A setting that cannot be used is named as its environment variable, without its value.
    """
    if isinstance(error, ValidationError) and error.title in ("Settings", "ServerSettings"):
        first = error.errors(include_input=False, include_url=False)[0]
        name = "REFERENT_" + "_".join(str(part) for part in first["loc"]).upper()
        return 2, f"{name}: {first['msg']}"
    trace = _write(error)
    where = f"the trace is in {trace}" if trace else "its trace could not be written"
    return UNFORESEEN, f"something unexpected happened ({type(error).__name__}); {where}"


def _write(error: Exception) -> Path | None:
    """Keep the trace in the library's log, or where the system keeps temporary files."""
    from workers.logging import configure_logging, logger

    for file in _places():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.open("a").close()
        except OSError:
            continue
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123
            configure_logging(log_format="console", stream=nowhere, file=file)
            logger(__name__).error("command failed", exc_info=error)
        return file
    return None


def _places() -> list[Path]:
    from indexer.settings import Settings

    elsewhere = Path(tempfile.gettempdir()) / f"referent-{os.getuid()}.log"
    try:
        return [Settings().log_file, elsewhere]
    except ValidationError:
        return [elsewhere]
