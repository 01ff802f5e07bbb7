"""The whole OpenAPI document under generated requests: no 5xx, no violation of the document."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import FlakyStrategyDefinition, Unsatisfiable
from hypothesis.stateful import run_state_machine_as_test
from schemathesis import Case, GenerationMode
from schemathesis.schemas import BaseSchema as OpenApiSchema
from sqlalchemy import update

from indexer.db.tables import ApiKey
from search_api.http.app import create_app
from search_api.http.keys import create_key
from search_api.http.server_settings import ServerSettings
from tests.support.library import make_library

SLOW = list(HealthCheck)
CHAINS = 200
FUZZER = 7_301_588_211


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OpenApiSchema, str]]:
    """The document of an application that asks for keys, and an admin's key."""
    library = make_library(tmp_path_factory.mktemp("schema"), 6)
    key = create_key(library.engine.catalog, "fuzzer", ["admin"])
    with library.engine.catalog.session() as session:
        # A number that no generated request guesses, or the first would revoke it.
        session.execute(update(ApiKey).values(id=FUZZER))
    key = f"rf_{FUZZER}_{key.split('_', 2)[2]}"
    app = create_app(
        library.settings,
        host="127.0.0.1",
        limits=ServerSettings(require_keys=True, job_stream_s=0.1),
        engine=library.engine,
        warm_up=False,
    )
    yield schemathesis.openapi.from_asgi("/v1/openapi.json", app), key
    library.engine.close()


# What the document says in words alone: the first of a pair lies before the second.
PAIRS = (("taken_from", "taken_before"), ("south", "north"))


def made_possible(values: object) -> None:
    """Heed, wherever in a generated request it is, what the document says in words alone."""
    if isinstance(values, dict):
        if "admin" in (values.get("scopes") or ()):
            values.pop("albums", None)  # an admin sees every one
        for low, high in PAIRS:
            pair = values.get(low), values.get(high)
            if None not in pair and all(isinstance(each, str | int | float) for each in pair):
                values[low], values[high] = sorted(pair)  # type: ignore[type-var]
                if low == "taken_from" and values[low] == values[high]:
                    del values[high]
        for each in values.values():
            made_possible(each)


def violations(schema: OpenApiSchema, key: str, mode: GenerationMode, examples: int) -> list[str]:
    """Call every operation with generated requests; what went against the document."""
    found, requests = [], 0
    for result in schema.get_all_operations():
        operation = result.ok()

        @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=SLOW)
        @given(case=operation.as_strategy(generation_mode=mode))
        def call(case: Case) -> None:
            nonlocal requests
            requests += 1
            if mode is GenerationMode.POSITIVE:
                made_possible(case.query)
                made_possible(case.body)
            case.call_and_validate(headers={"x-api-key": key})

        try:
            call()
        except Unsatisfiable:
            pass  # an operation without parameters has no negative requests
        except (Exception, ExceptionGroup) as error:
            found.append(f"{operation.label}: {error}")
    print(f"{requests} requests")
    return found


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_api_answers_as_its_document_says(
    served: tuple[OpenApiSchema, str], mode: GenerationMode
) -> None:
    assert not violations(*served, mode, 4)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_api_answers_as_its_document_says_under_thousands_of_requests(
    served: tuple[OpenApiSchema, str], mode: GenerationMode
) -> None:
    assert not violations(*served, mode, 200)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_api_answers_as_its_document_says_along_chains_of_requests(
    served: tuple[OpenApiSchema, str],
) -> None:
    schema, key = served
    chains, requests = 0, 0
    found: list[str] = []

    class Chain(schema.as_state_machine()):  # type: ignore[misc]
        def setup(self) -> None:
            nonlocal chains
            chains += 1

        def get_call_kwargs(self, case: Case) -> dict[str, object]:
            nonlocal requests
            requests += 1
            made_possible(case.query)
            made_possible(case.body)
            return {"headers": {"x-api-key": key}}

        def validate_response(self, *args: object, **kwargs: object) -> None:
            try:
                super().validate_response(*args, **kwargs)
            except (Exception, ExceptionGroup) as error:
                found.append(str(error))

    few = settings(
        max_examples=20,
        stateful_step_count=8,
        deadline=None,
        database=None,
        suppress_health_check=SLOW,
    )
    while chains < CHAINS and not found:
        # The server remembers what earlier chains did to it, which Hypothesis cannot know.
        with contextlib.suppress(FlakyStrategyDefinition):
            run_state_machine_as_test(Chain, settings=few)
    print(f"{chains} chains, {requests} requests")
    assert not found
