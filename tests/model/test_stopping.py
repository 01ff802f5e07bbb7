"""Ctrl-C asks a long command to stop; a second one ends it."""

from __future__ import annotations

import os
import signal

import pytest

from model.stopping import Stop


def test_second_ctrl_c_ends_a_command_at_once() -> None:
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with Stop() as stop:
        assert not stop.asked()
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.asked()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert {number: signal.getsignal(number) for number in kept} == kept
