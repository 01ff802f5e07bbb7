"""The page's JavaScript is type-checked and linted, where node is at hand."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.servers import REPOSITORY

STATIC = "search_api/http/static"


def run(*command: str) -> subprocess.CompletedProcess[str]:
    program = REPOSITORY / "node_modules" / ".bin" / command[0]
    return subprocess.run(
        [str(program), *command[1:]], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )


@pytest.mark.node
def test_types_of_the_page_fit() -> None:
    done = run("tsc", "--project", "tsconfig.json")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.node
def test_page_is_free_of_what_the_linter_knows() -> None:
    done = run("eslint", "--max-warnings", "0", STATIC)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.node
@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("tsc", "--project"), 'document.getElementById("a").valu = 1;'),
        (("eslint", "--max-warnings", "0"), "var a = 1; export const b = (a == 2);"),
    ],
)
def test_checks_find_what_is_wrong(tmp_path: Path, command: tuple[str, ...], code: str) -> None:
    for name in ("tsconfig.json", "eslint.config.js", "package.json"):
        (tmp_path / name).write_text((REPOSITORY / name).read_text())
    wrong = tmp_path / STATIC / "js" / "wrong.js"
    wrong.parent.mkdir(parents=True)
    wrong.write_text(code)
    program = REPOSITORY / "node_modules" / ".bin" / command[0]
    place = tmp_path / "tsconfig.json" if command[0] == "tsc" else STATIC
    done = subprocess.run(
        [str(program), *command[1:], str(place)], cwd=tmp_path, capture_output=True, check=False
    )
    assert done.returncode != 0
    assert b"wrong.js" in done.stdout
