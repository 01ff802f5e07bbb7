"""A search's photos judged by several processes: the searching one cuts, claims, counts, and judges
as well; whoever else is there claims too.

Redis holds what is to be judged, in ranges, while the search runs. A range is claimed by one
process, which says again with each batch that it lives; one that falls silent loses the range to
the next. The first answer to a range counts and others are dropped, so nothing is lost or doubled;
and where nobody helps, or Redis goes away, the searching process does it all.
"""

from __future__ import annotations

import json
import struct
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import numpy as np
import redis
from celery import Celery
from kombu.exceptions import OperationalError

from indexer.settings import Settings
from model.errors import ReferentError
from search_api.search import booleans
from search_api.search.coverage import Stopwatch
from search_api.search.engine import Engine, View
from search_api.search.judging import (
    Asked,
    Judge,
    Judged,
    judge,
    nothing,
    packed,
    state_of,
    unpacked,
)
from search_api.search.planning import Plan, Share
from workers.broker import connect
from workers.celery_app import make_app, send_judging
from workers.logging import logger

log = logger(__name__)

RANGE_BATCHES = 4  # some four hundred photos each: half a second of one core
LEASE_MS = 3_000
WAIT_S = 0.05
TELL_S = 0.5
KEPT_S = 3_600  # a board whose search died is gone after this

# Take the next free range and hold it, in one step.
_CLAIM = """
local number = redis.call('LPOP', KEYS[1])
if number then redis.call('SET', KEYS[2] .. number, ARGV[1], 'PX', ARGV[2]) end
return number
"""


class Board:
    """What one search has to be judged, as Redis holds it."""

    def __init__(self, client: redis.Redis, run_id: str) -> None:
        self._redis = client
        self._root = f"referent:judge:{run_id}"
        self._claim = client.register_script(_CLAIM)

    def open(self, asked: str, ranges: Sequence[str]) -> None:
        """Put up the ranges; `asked` is there as long as the search runs."""
        pipe = self._redis.pipeline()
        pipe.rpush(self._key("free"), *range(len(ranges)))
        pipe.hset(self._key("ranges"), mapping=dict(enumerate(ranges)))
        pipe.set(self._key("asked"), asked, ex=KEPT_S)
        for name in ("free", "ranges"):
            pipe.expire(self._key(name), KEPT_S)
        pipe.execute()

    def close(self) -> None:
        """Take all of it down, which stops whoever helps before their next batch."""
        names = ("asked", "free", "ranges", "answers")
        self._redis.delete(*(self._key(name) for name in names))

    @property
    def asked(self) -> str | None:
        """What `open` was told; None once the search has ended."""
        found: Any = self._redis.get(self._key("asked"))
        return None if found is None else found.decode()

    def claim(self, lease_ms: int) -> int | None:
        """Take a free range for so long; None where none is left."""
        keys = [self._key("free"), f"{self._root}:held:"]
        found: Any = self._claim(keys=keys, args=[1, lease_ms])
        return None if found is None else int(found)

    def hold(self, number: int) -> bool:
        """Keep a range for another while; False once the search has ended."""
        pipe = self._redis.pipeline()
        pipe.exists(self._key("asked"))
        pipe.set(f"{self._root}:held:{number}", 1, px=LEASE_MS)
        return bool(pipe.execute()[0])

    def free_again(self, numbers: Sequence[int]) -> None:
        """Give those of the ranges away that nobody holds and that are not free."""
        if not numbers:
            return
        pipe = self._redis.pipeline()
        for number in numbers:
            pipe.exists(f"{self._root}:held:{number}")
        pipe.lrange(self._key("free"), 0, -1)
        *held, free = pipe.execute()
        waiting = {int(each) for each in free}
        lost = [n for n, is_held in zip(numbers, held, strict=True) if not is_held]
        if again := [n for n in lost if n not in waiting]:
            log.info("ranges of a search are given to others", ranges=len(again))
            self._redis.rpush(self._key("free"), *again)

    def range(self, number: int) -> str | None:
        """What is to be judged; None once the search has ended."""
        found: Any = self._redis.hget(self._key("ranges"), str(number))
        return None if found is None else found.decode()

    def answer(self, number: int, blob: bytes) -> None:
        """Tell what came of a range, of a search that still runs."""
        if self.asked is None:
            return
        pipe = self._redis.pipeline()
        pipe.rpush(self._key("answers"), struct.pack("<I", number) + blob)
        pipe.expire(self._key("answers"), KEPT_S)
        pipe.execute()

    def answers(self) -> list[tuple[int, bytes]]:
        """What has been told since the last time."""
        pipe = self._redis.pipeline()
        pipe.lrange(self._key("answers"), 0, -1)
        pipe.delete(self._key("answers"))
        found, _ = pipe.execute()
        return [(struct.unpack_from("<I", each)[0], each[4:]) for each in found]

    def _key(self, name: str) -> str:
        return f"{self._root}:{name}"


class Workers:
    """Asks the workers of the queue `judge` to help with searches (`Helpers` of a search)."""

    def __init__(self, settings: Settings, app: Celery | None = None) -> None:
        self._settings = settings
        self._app = app or make_app(settings)

    def judged(
        self, asked: Asked, batches: Iterator[list[Share]], here: Judge
    ) -> Generator[Judged]:
        """Every batch once, in any order; see `search_api.search.judging.Helpers`."""
        ranges = _cut(batches)
        left = dict(enumerate(ranges))
        try:
            with connect(self._settings) as client:
                board = Board(client, asked.run_id)
                try:
                    yield from self._together(board, asked, left, here)
                finally:
                    board.close()
        except (redis.RedisError, OperationalError) as error:
            log.warning("nobody can help with a search", reason=str(error))
            for batches_left in left.values():
                yield from map(here, batches_left)

    def _together(
        self, board: Board, asked: Asked, left: dict[int, list[list[Share]]], here: Judge
    ) -> Generator[Judged]:
        board.open(_told(asked), [_written(batches) for batches in left.values()])
        for _ in range(min(self._settings.judge_workers, len(left))):
            send_judging(self._app, asked.run_id, time.time())
        looked = told = time.monotonic()
        while left:
            for number, blob in board.answers():
                if number in left:
                    each = [unpacked(part) for part in _parts(blob)]
                    del left[number]
                    yield from each
            if time.monotonic() - looked > LEASE_MS / 1000:
                board.free_again(list(left))
                looked = time.monotonic()
            # What this process holds it keeps: if it dies the search is over.
            mine = board.claim(KEPT_S * 1000)
            if mine is None:
                time.sleep(WAIT_S if left else 0)
                if time.monotonic() - told > TELL_S:  # whoever waits may have been told to stop
                    told = time.monotonic()
                    yield nothing()
            elif mine in left:
                batches = left[mine]
                while batches:
                    yield here(batches.pop(0))
                del left[mine]


def help_with(
    run_id: str,
    settings: Settings,
    engine: Callable[[], Engine],
    stopping: Callable[[], bool] = lambda: False,
) -> int:
    """Judge ranges of a search until none is free; returns how many.

    Args:
        stopping: asked before each batch; what is held then is given to others.
    """
    import torch

    done = 0
    with connect(settings) as client:
        board = Board(client, run_id)
        if (told := board.asked) is None:
            return done
        asked, threads = _read(told)
        views = _views(engine(), asked)
        if views is None:
            log.warning("cannot help with a search: its albums are another state here")
            return done
        torch.set_num_threads(threads)  # the order of a sum, and so its last bit, depends on them
        question = booleans.read(asked.query.expression)
        texts = booleans.parts(question)
        plans = {
            album: Plan(
                view, tuple(engine().models.words(view.predictor, text) for text in texts),
                np.zeros(0, np.int64), np.zeros(0, np.int64), 0,
            )
            for album, view in views.items()
        }  # fmt: skip
        while not stopping() and (number := board.claim(LEASE_MS)) is not None:
            if (written := board.range(number)) is None:
                break
            batches = _opened(written, plans)
            if batches is None:
                log.warning("cannot help with a search: a photo of it is not known here")
                break
            parts = []
            for batch in batches:
                if stopping() or not board.hold(number):
                    return done
                parts.append(packed(judge(batch, asked.query, question, Stopwatch())))
            board.answer(number, _joined(parts))
            done += 1
    return done


def _views(engine: Engine, asked: Asked) -> dict[int, View] | None:
    """The albums as they were asked about; None where one is another here."""
    found: dict[int, View] = {}
    for album, state in asked.albums.items():
        try:
            view = engine.view(album)
        except ReferentError:
            return None
        if view is None or state_of(view) != state:
            return None
        found[album] = view
    return found


def _told(asked: Asked) -> str:
    import torch

    return json.dumps({"asked": asked.to_json(), "threads": torch.get_num_threads()})


def _read(told: str) -> tuple[Asked, int]:
    values = json.loads(told)
    return Asked.from_json(values["asked"]), int(values["threads"])


def _cut(batches: Iterator[list[Share]]) -> list[list[list[Share]]]:
    every = list(batches)
    return [every[at : at + RANGE_BATCHES] for at in range(0, len(every), RANGE_BATCHES)]


def _written(batches: Sequence[Sequence[Share]]) -> str:
    """A range as text: batches of (album, photo ids)."""
    return json.dumps(
        [
            [
                (plan.view.album_id, b64encode(_ids(plan, rows).tobytes()).decode())
                for plan, rows in batch
            ]
            for batch in batches
        ]
    )


def _ids(plan: Plan, rows: np.ndarray) -> np.ndarray:
    return plan.view.snapshot.photo_ids[rows].astype("<i8")


def _opened(written: str, plans: dict[int, Plan]) -> list[list[Share]] | None:
    """What `_written` wrote, by the albums' rows here; None where a photo has none."""
    batches: list[list[Share]] = []
    for batch in json.loads(written):
        shares: list[Share] = []
        for album, coded in batch:
            ids = np.frombuffer(b64decode(coded), "<i8").astype(np.int64)
            rows = plans[album].view.rows_of(ids)
            if len(rows) != len(ids):
                return None
            shares.append((plans[album], rows))
        batches.append(shares)
    return batches


def _joined(parts: Sequence[bytes]) -> bytes:
    return b"".join(struct.pack("<I", len(part)) + part for part in parts)


def _parts(blob: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(blob):
        (length,) = struct.unpack_from("<I", blob, at)
        yield blob[at + 4 : at + 4 + length]
        at += 4 + length
