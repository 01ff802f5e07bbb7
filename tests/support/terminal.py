"""The command line, run in this process."""

from __future__ import annotations

import sys

import pytest


class Terminal:
    """Runs `referent`; called with words, it gives exit status, stdout and stderr."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.capsys, self.monkeypatch = capsys, monkeypatch

    def __call__(self, *words: str) -> tuple[int, str, str]:
        from referent.main import main

        self.monkeypatch.setattr(sys, "argv", ["referent", *words])
        with pytest.raises(SystemExit) as left:
            main()
            raise SystemExit(0)
        out, err = self.capsys.readouterr()
        return int(left.value.code or 0), out, err
