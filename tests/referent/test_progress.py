"""One line on stderr tells how far a long command is."""

from __future__ import annotations

import pytest

from referent import progress
from referent.progress import ProgressLine, speed_of
from referent.terminal import duration


def test_speed_says_what_is_known() -> None:
    assert speed_of(0.0, None, 0) == ""
    assert speed_of(2.5, 200.0, 1200) == "2.5 photos/s, 3 min 20 s left, 1,200 failed"
    assert [duration(s) for s in (41.6, 185, 7800)] == ["42 s", "3 min 5 s", "2 h 10 min"]


def test_where_nobody_looks_a_line_is_written_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with ProgressLine("holi\x1bday", quiet=False) as line:
        for done in range(1, 13):
            now[0] = float(done)
            line.count("encoding", done, 12, "1.0 photos/s")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        r"holi\x1bday: encoding, 5 of 12, 1.0 photos/s",
        r"holi\x1bday: encoding, 10 of 12, 1.0 photos/s",
    ]


def test_quiet_line_says_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "LINE_S", 0.0)
    with ProgressLine("holiday", quiet=True) as line:
        line.count("encoding", 5, None)
    assert capsys.readouterr() == ("", "")
