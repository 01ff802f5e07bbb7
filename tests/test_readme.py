"""The commands that README.md and docs/ tell people to type exist, and the README's own work."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from referent.main import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")


def lines(text: str) -> Iterator[str]:
    """Commands of a page's shell blocks, without comments."""
    for block in BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            if command := line.split("  #")[0].split(" # ")[0].strip():
                yield command


def typed(text: str) -> Iterator[str]:
    """Every command of ours that a page shows, in its blocks or between its lines."""
    for command in (*lines(text), *INLINE.findall(text)):
        if re.match(r"(\w+=\S+ )*referent [a-z]", command):
            yield command[command.index("referent ") :]


def cases() -> list[tuple[str, str]]:
    return [
        (page.relative_to(ROOT).as_posix(), command)
        for page in PAGES
        for command in dict.fromkeys(typed(page.read_text(encoding="utf-8")))
    ]


@pytest.mark.parametrize(("page", "command"), cases())
def test_documented_command_and_its_options_exist(page: str, command: str) -> None:
    words = shlex.split(command.split("|")[0].replace("[", "").replace("]", ""))[1:]
    at: Any = typer.main.get_command(app)
    while hasattr(at, "list_commands") and words and not words[0].startswith("-"):
        name = words.pop(0).rstrip(",")
        assert name in at.list_commands(None), f"{page}: {command!r} names no command of ours"
        at = at.get_command(None, name)
    options = {
        each for parameter in at.params for each in parameter.opts + parameter.secondary_opts
    }
    for word in words:
        if re.match(r"--?[a-z]", word):
            flag = word.split("=")[0].rstrip(",")
            assert flag in options | {"--help"}, f"{page}: {command!r} has no {flag}"


def test_readmes_make_targets_exist() -> None:
    targets = {m for m in re.findall(r"\bmake ([a-z-]+)", README) if m not in ("is",)}
    assert {"demo", "test", "check", "bench"} <= targets
    for target in sorted(targets):
        ran = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr


@pytest.mark.timeout(600)
def test_readmes_first_commands_work(tmp_path: Path) -> None:
    """Index, search and serve, word by word, in a home of their own."""
    port = free_port()
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "REFERENT_HOME": str(tmp_path / "library"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    del environment["REFERENT_MODEL"]  # what somebody gets who sets nothing
    run(f"referent synth --photos 6 --megapixels 0.2 --out {tmp_path / 'Photos'}", environment)
    index, search, serve = [line for line in lines(README) if line.startswith("referent ")]
    assert "6 photos" in run(index, environment).stdout
    found = run(search, environment, allowed=(0, 1))
    assert "6 photos" in found.stdout + found.stderr
    server = subprocess.Popen([*shlex.split(serve), "--port", str(port)], env=environment)
    try:
        assert "Referent" in fetched(f"http://127.0.0.1:{port}/", server)
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0


def run(
    command: str, environment: dict[str, str], allowed: tuple[int, ...] = (0,)
) -> subprocess.CompletedProcess[str]:
    """Let a shell run a command as the README has it."""
    ran = subprocess.run(
        command, shell=True, env=environment, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode in allowed, f"{command}: {ran.stderr}"
    return ran


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def fetched(address: str, server: subprocess.Popen[bytes]) -> str:
    """The page, once the server answers."""
    until = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            assert server.poll() is None, "the server ended"
            assert time.monotonic() < until, "the server does not answer"
            time.sleep(0.2)
