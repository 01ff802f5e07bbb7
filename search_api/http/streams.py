"""A search as server-sent events, ended early when the client goes away."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Generator
from typing import Any

import anyio
from starlette.types import Receive, Scope, Send

from model.errors import ReferentError
from search_api.http.answers import query_of
from search_api.http.events import EventResponse, event
from search_api.http.problems import documented_events, status_of, told_to_client, type_of
from search_api.http.schemas import CoverageOut, HitOut, NoteOut, RunOut, SearchRequest
from search_api.http.state import Server
from search_api.search.events import Done, Event, Found, Progress, Started
from search_api.search.photos import by_id
from search_api.search.pipeline import search
from search_api.search.query import Asker
from search_api.show.shown import ShownHit

EVENTS = documented_events(
    "The answer, or a stream of events when the client accepts one.",
    ("started", "hit", "progress", "done", "problem"),
    'event: started\ndata: {"run": "0d7c...", "coverage": {"total": 10000}}\n\n'
    'event: hit\ndata: {"rank": null, "photo": {"id": 12}, "confidence": 0.97}\n\n'
    'event: progress\ndata: {"coverage": {"verified": 50, "matched": 1}}\n\n'
    'event: done\ndata: {"run": {"id": "0d7c...", "state": "done"}}\n\n',
)


class EventStream(EventResponse):
    """Runs a search step by step in the bounded pool and sends its events as they come."""

    def __init__(self, server: Server, request: SearchRequest, asker: Asker) -> None:
        super().__init__(self._events())
        self._server = server
        self._request = request
        self._asker = asker
        self._search: Generator[Event]
        self._stepping = threading.Lock()
        self._first: list[str] | None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait for a slot, then stream; errors before the first event are problem documents."""
        slots = self._server.searches
        async with slots.one():
            self._server.check_running()
            self._search = search(
                self._server.engine,
                query_of(self._request),
                asker=self._asker,
                time_limit_s=self._server.limits.search_time_s,
                stopping=self._server.stopping.is_set,
                helpers=self._server.helpers,
            )
            try:
                self._first = await slots.compute(self._step)
                await super().__call__(scope, receive, send)
            finally:
                with anyio.CancelScope(shield=True):
                    await slots.compute(self._close)

    def _step(self, request: SearchRequest | None = None) -> list[str] | None:
        with self._stepping:
            return _next(self._server, self._search, request)

    def _close(self) -> None:
        """End the search, after the step that a client who went away has left in its thread."""
        with self._stepping:
            self._search.close()

    async def _events(self) -> AsyncIterator[str]:
        blocks = self._first
        while blocks is not None:
            yield "".join(blocks)
            try:
                blocks = await self._server.searches.compute(lambda: self._step(self._request))
            except ReferentError as error:
                detail = {
                    "type": type_of(type(error)),
                    "status": status_of(error),
                    "detail": told_to_client(self._server.hide, error),
                }
                yield _block("problem", detail)
                return


def _next(
    server: Server, events: Generator[Event], request: SearchRequest | None = None
) -> list[str] | None:
    """Events up to the next step of the search, as text; None at the end."""
    blocks: list[str] = []
    found: list[Found] = []
    for each in events:
        if isinstance(each, Found):
            found.append(each)
            continue
        blocks += _hits(server, found)
        if isinstance(each, Done) and request is not None:
            server.ended(request.mode, each)
        blocks.append(_block_of(server, each))
        return blocks
    return None


def _hits(server: Server, found: list[Found]) -> list[str]:
    photos = by_id(server.engine.catalog, (each.decision.photo_id for each in found))
    blocks = []
    for each in found:
        photo = photos.get(each.decision.photo_id)
        if photo is not None:
            hit = ShownHit(0, photo, each.decision.confidence, True, None, None, photo.vanished)
            blocks.append(_block("hit", {**HitOut.of(hit).model_dump(mode="json"), "rank": None}))
    return blocks


def _block_of(server: Server, at: Started | Progress | Done) -> str:
    if isinstance(at, Started):
        return _block(
            "started",
            {
                "run": at.run_id,
                "coverage": CoverageOut.of(at.coverage).model_dump(),
                "threshold": at.threshold,
                "notes": [NoteOut.of(note).model_dump() for note in at.notes],
            },
        )
    if isinstance(at, Progress):
        return _block("progress", {"coverage": CoverageOut.of(at.coverage).model_dump()})
    return _block(
        "done",
        {
            "run": RunOut.of(at.run).model_dump(mode="json"),
            "order": [decision.photo_id for decision in at.matched],
            "rejected": len(at.rejected),
        },
    )


def _block(name: str, data: dict[str, Any]) -> str:
    return event(name, json.dumps(data, separators=(",", ":")))
