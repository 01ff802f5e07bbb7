"""The whole OpenAPI document under generated requests: no 5xx, no violation of the document."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, settings
from library import make_library
from schemathesis import Case
from schemathesis.config import SchemathesisConfig

from search_api.app import create_app
from search_api.keys import create_key
from search_api.server_settings import ServerSettings

NO_COVERAGE = {"phases": {"coverage": {"enabled": False}}}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FastAPI, str]]:
    """An application that asks for keys, and an admin's key."""
    library = make_library(tmp_path_factory.mktemp("schema"), 6)
    key = create_key(library.engine.catalog, "fuzzer", ["admin"])
    app = create_app(
        library.settings,
        host="127.0.0.1",
        limits=ServerSettings(require_keys=True),
        engine=library.engine,
        warm_up=False,
    )
    yield app, key
    library.engine.close()


@pytest.fixture(scope="module")
def short_schema(served: tuple[FastAPI, str]) -> object:
    """The document, without the slow phase that walks every boundary."""
    config = SchemathesisConfig.from_dict(NO_COVERAGE)
    return schemathesis.openapi.from_asgi("/v1/openapi.json", served[0], config=config)


@pytest.fixture(scope="module")
def whole_schema(served: tuple[FastAPI, str]) -> object:
    """The document, every phase on."""
    return schemathesis.openapi.from_asgi("/v1/openapi.json", served[0])


def check(case: Case, served: tuple[FastAPI, str], tmp_path: Path | None = None) -> None:
    """Call with a good key and compare the answer with the document."""
    case.call_and_validate(headers={"x-api-key": served[1]})


@schemathesis.pytest.from_fixture("short_schema").parametrize()
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
def test_api_answers_as_its_document_says(case: Case, served: tuple[FastAPI, str]) -> None:
    check(case, served)


@pytest.mark.long
@schemathesis.pytest.from_fixture("whole_schema").parametrize()
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_api_answers_as_its_document_says_under_thousands_of_requests(
    case: Case, served: tuple[FastAPI, str]
) -> None:
    check(case, served)
