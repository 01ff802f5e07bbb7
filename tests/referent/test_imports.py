"""What a command may load before it answers: most of a person's wait is other people's modules."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.library import EXPRESSION, Library, make_library

# None of them does anything for a search; `import torch` itself loads none of them.
NOT_FOR_A_SEARCH = {
    "torchvision", "torch._dynamo", "torch._inductor", "transformers", "sklearn", "sympy",
    "fastapi", "uvicorn", "timm", "celery", "scipy", "numba", "pymatting", "alembic",
}  # fmt: skip
NOT_FOR_A_LIST = NOT_FOR_A_SEARCH | {"torch", "faiss", "tokenizers", "safetensors"}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    made = make_library(tmp_path_factory.mktemp("imports"), 6)
    yield made
    made.engine.close()


def loaded_by(library: Library, *words: str) -> tuple[str, set[str]]:
    """Run a command in a process of its own: what it printed, and every module that it loaded."""
    code = (
        "import atexit, json, pathlib, sys\n"
        "told = pathlib.Path(sys.argv[1])\n"
        "atexit.register(lambda: told.write_text(json.dumps(sorted(sys.modules))))\n"
        f"sys.argv = ['referent', *{list(words)!r}]\n"
        "from referent.main import main\n"
        "main()\n"
    )
    environment = {
        **os.environ,
        "REFERENT_HOME": str(library.settings.home),
        "REFERENT_MODEL": library.settings.model,
    }
    told = Path(library.settings.home) / "modules.json"
    done = subprocess.run(
        [sys.executable, "-c", code, str(told)], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert done.returncode in (0, 1), words
    return done.stdout, set(json.loads(told.read_text()))


def test_search_loads_nothing_that_a_search_does_not_need(library: Library) -> None:
    printed, modules = loaded_by(library, "search", EXPRESSION, "--threshold", "0", "--json")
    assert len(json.loads(printed)["hits"]) == 6  # a whole search, masks and all
    assert "torch" in modules
    assert sorted(modules & NOT_FOR_A_SEARCH) == []


@pytest.mark.parametrize(
    "words", [("--help",), ("albums",), ("jobs", "list"), ("search", "--help")]
)
def test_command_that_needs_no_network_loads_no_torch(
    library: Library, words: tuple[str, ...]
) -> None:
    printed, modules = loaded_by(library, *words)
    assert printed
    assert sorted(modules & NOT_FOR_A_LIST) == []
