"""A search as server-sent events, ended early when the client goes away."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Generator
from typing import Any

import anyio
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from model.errors import ReferentError
from search_api.http.answers import query_of
from search_api.http.problems import documented_events, status_of, told_to_client
from search_api.http.schemas import CoverageOut, HitOut, NoteOut, RunOut, SearchRequest
from search_api.http.state import Server
from search_api.search import runs
from search_api.search.photos import by_id
from search_api.search.pipeline import Done, Event, Found, Progress, Started, search
from search_api.show.shown import ShownHit

EVENTS = documented_events(
    "The answer, or a stream of events when the client accepts one.",
    ("started", "hit", "progress", "done", "problem"),
    'event: started\ndata: {"run": "0d7c...", "coverage": {"total": 10000}}\n\n'
    'event: hit\ndata: {"rank": null, "photo": {"id": 12}, "confidence": 0.97}\n\n'
    'event: progress\ndata: {"coverage": {"verified": 50, "matched": 1}}\n\n'
    'event: done\ndata: {"run": {"id": "0d7c...", "state": "done"}}\n\n',
)


class EventStream(StreamingResponse):
    """Runs a search step by step in the bounded pool and sends its events as they come."""

    media_type = "text/event-stream"

    def __init__(self, server: Server, request: SearchRequest) -> None:
        super().__init__((), headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._server = server
        self._request = request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait for a slot, then stream; errors before the first event are problem documents."""
        slots = self._server.searches
        async with slots.one():
            self._server.check_running()
            events = search(
                self._server.engine,
                query_of(self._request),
                time_limit_s=self._server.limits.search_time_s,
                stopping=self._server.stopping.is_set,
            )
            try:
                first = await slots.compute(lambda: _next(self._server, events))
                self.body_iterator = self._rest(first, events)
                await super().__call__(scope, receive, send)
            finally:
                with anyio.CancelScope(shield=True):
                    await slots.compute(events.close)

    async def _rest(self, first: list[str] | None, events: Generator[Event]) -> AsyncIterator[str]:
        blocks = first
        while blocks is not None:
            yield "".join(blocks)
            try:
                blocks = await self._server.searches.compute(
                    lambda: _next(self._server, events, self._request)
                )
            except ReferentError as error:
                detail = {
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
    for event in events:
        if isinstance(event, Found):
            found.append(event)
            continue
        blocks += _hits(server, found)
        if isinstance(event, Done) and request is not None:
            server.ended(request.mode, event)
        blocks.append(_block_of(server, event))
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


def _block_of(server: Server, event: Started | Progress | Done) -> str:
    if isinstance(event, Started):
        return _block(
            "started",
            {
                "run": event.run_id,
                "coverage": CoverageOut.of(event.coverage).model_dump(),
                "threshold": event.threshold,
                "notes": [NoteOut.of(note).model_dump() for note in event.notes],
            },
        )
    if isinstance(event, Progress):
        return _block("progress", {"coverage": CoverageOut.of(event.coverage).model_dump()})
    run = runs.load(server.engine.catalog, event.run_id)
    return _block(
        "done",
        {
            "run": RunOut.of(run).model_dump(mode="json"),
            "order": [decision.photo_id for decision in event.matched],
            "rejected": len(event.rejected),
        },
    )


def _block(name: str, data: dict[str, Any]) -> str:
    """One event; JSON holds no line break, so it is one line of data."""
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"
