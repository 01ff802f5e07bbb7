"""Thirty people: as many photos in 304 albums as in one, searched all at once and by many clients.

Run: python -m benchmarks.thirty [--albums 304] [--photos 8] [--clients 30] [--seconds 60] [--json]
     [--queries 20] [--keep FOLDER]

Two libraries hold the same number of photos, copies of a drawn album's features with noise: one in
a single album, the other in many. Searches run over all albums, in this process of both in turn,
then against a real `referent serve` with many clients at once, with health and the list of albums
asked beside them. Every figure comes from one run of this program; --keep has it build the
libraries in a folder of yours, or find them there, so that another run takes minutes less.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._replicas import grow
from indexer.db.catalog import Catalog
from indexer.encoding.alone import index_album
from indexer.features.store import FeatureStore
from indexer.folders.albums import delete_album, ensure_album
from indexer.settings import Settings
from model.build import load_predictor
from model.predictor import Predictor
from search_api.search.engine import Engine
from search_api.search.pipeline import collect
from search_api.search.query import Mode, Query
from tests.support.servers import free_port
from training.data.album import AlbumPlan, write_album

REAL, REAL_PHOTOS = "real", 64
BUILT = "built"
BARS = {
    "the same photos in many albums, times one album: fast": 1.3,
    "the same photos in many albums, times one album: exhaustive": 1.3,
    "clients over many albums: errors": 0,
    "clients over many albums: p95, times one album's": 3.0,
    "health under load, worst (s)": 0.1,
}


def indexed(place: Path, predictor: Predictor) -> Settings:
    """A library of one album of drawn photos, which the others are copies of."""
    settings = _settings(place / "library", predictor)
    if not _is_built(settings):
        for _ in write_album(AlbumPlan(REAL_PHOTOS, 7), place / "photos", os.cpu_count() or 1):
            pass
        with Catalog.open(settings) as catalog:
            with catalog.session() as session:
                ensure_album(session, [place / "photos"], name=REAL)
            index_album(settings, REAL, predictor, catalog=catalog)
        _note_built(settings)
    return settings


def library(place: Path, real: Settings, predictor: Predictor, albums: int, each: int) -> Settings:
    """A library of so many albums of so many photos each; one that is there is taken as it is."""
    settings = _settings(place, predictor)
    if _is_built(settings):
        return settings
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(real.home, place, ignore=shutil.ignore_patterns(BUILT))
    with Catalog.open(settings) as catalog:
        store = FeatureStore.open(settings, catalog)
        for number in range(albums):
            grow(catalog, store, predictor, REAL, f"album {number:04d}", each)
        with catalog.session() as session:
            delete_album(session, REAL)
    _note_built(settings)
    return settings


def _settings(home: Path, predictor: Predictor) -> Settings:
    return Settings(
        home=home, database_url="", features_dir="", exports_dir="", model=predictor.name
    )  # type: ignore[arg-type]


def _is_built(settings: Settings) -> bool:
    return (settings.home / BUILT).exists()


def _note_built(settings: Settings) -> None:
    (settings.home / BUILT).touch()


def alone(
    libraries: dict[str, Settings], predictor: Predictor, expressions: list[str], queries: int
) -> dict[str, dict[str, Any]]:
    """Searches over everything of each library in turn: the first with all that it opens, then p50.

    In turn, so that what else the machine does meets all of them alike.
    """
    figures: dict[str, dict[str, Any]] = {name: {} for name in libraries}
    with ExitStack() as opened:
        engines: dict[str, Engine] = {}
        for name, settings in libraries.items():
            begun = time.perf_counter()
            engines[name] = opened.enter_context(Engine.open(settings, predictor))
            collect(engines[name], Query(expression=expressions[0]))
            figures[name]["first_s"] = round(time.perf_counter() - begun, 3)
        asked = cycle(expressions)
        modes: tuple[Mode, ...] = ("fast", "exhaustive")
        for mode in modes:
            taken: dict[str, list[tuple[float, float]]] = {name: [] for name in libraries}
            for _ in range(queries):
                query = Query(expression=next(asked), mode=mode)
                for name, engine in engines.items():
                    start = time.perf_counter(), time.process_time()
                    done = collect(engine, query)
                    end = time.perf_counter(), time.process_time()
                    taken[name].append((end[0] - start[0], end[1] - start[1]))
                    figures[name][mode] = {"verified": done.coverage.verified}
            for name, each in taken.items():
                wall_s, processor_s = np.median(each, axis=0).tolist()
                figures[name][mode] |= {
                    "p50_s": round(wall_s, 4), "processor_p50_s": round(processor_s, 4),
                }  # fmt: skip
    return figures


@contextmanager
def server(settings: Settings) -> Iterator[str]:
    """A real one; yields its address when it is ready."""
    port = free_port()
    environment = {**os.environ, "REFERENT_HOME": str(settings.home),
                   "REFERENT_MODEL": settings.model, "REFERENT_ACCESS_LOG": "false"}  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "referent.main", "serve", "--port", str(port)],
        env=environment, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                with urllib.request.urlopen(f"{address}/readyz", timeout=5):
                    break
            except (urllib.error.URLError, OSError):
                if process.poll() is not None:
                    raise RuntimeError("the server did not start") from None
                time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.wait(60)


def crowd(address: str, expressions: list[str], clients: int, seconds: float) -> dict[str, Any]:
    """Many clients that search over all albums without a pause, health asked beside them."""
    until = time.monotonic() + seconds
    taken: list[float] = []
    errors: list[str] = []
    health: list[float] = []
    listed: list[float] = []

    def client(number: int) -> None:
        asked = cycle(expressions[number:] + expressions[:number])
        while time.monotonic() < until:
            body = json.dumps({"expression": next(asked)}).encode()
            request = urllib.request.Request(
                f"{address}/v1/search", body, {"content-type": "application/json"}
            )
            begun = time.perf_counter()
            try:
                with urllib.request.urlopen(request, timeout=300) as answer:
                    answer.read()
                taken.append(time.perf_counter() - begun)
            except (urllib.error.URLError, OSError) as error:
                errors.append(str(error))
                time.sleep(0.5)

    def watch(path: str, times: list[float]) -> None:
        while time.monotonic() < until:
            begun = time.perf_counter()
            with urllib.request.urlopen(f"{address}{path}", timeout=300) as answer:
                answer.read()
            times.append(time.perf_counter() - begun)
            time.sleep(0.2)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    threads.append(threading.Thread(target=watch, args=("/healthz", health)))
    threads.append(threading.Thread(target=watch, args=("/v1/albums", listed)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    p95 = float(np.percentile(taken, 95)) if taken else None
    return {
        "answers": len(taken),
        "errors": len(errors),
        "some_errors": sorted(set(errors))[:3],
        "p95_s": None if p95 is None else round(p95, 3),
        "health_worst_s": round(max(health), 3),
        "albums_p95_s": round(float(np.percentile(listed, 95)), 3),
    }


def main() -> int:
    """Measure, print, and say which bars hold."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.thirty", description=__doc__)
    options.add_argument("--albums", type=int, default=304)
    options.add_argument("--photos", type=int, default=8)
    options.add_argument("--clients", type=int, default=30)
    options.add_argument("--seconds", type=float, default=60.0)
    options.add_argument("--queries", type=int, default=20)
    options.add_argument("--json", action="store_true")
    options.add_argument("--keep", type=Path)
    chosen = options.parse_args()
    predictor = load_predictor("rela-mini")
    total = chosen.albums * chosen.photos
    with ExitStack() as opened:
        place = chosen.keep or Path(
            opened.enter_context(tempfile.TemporaryDirectory(prefix="referent-thirty-"))
        )
        real = indexed(place / REAL, predictor)
        references = json.loads((place / REAL / "photos" / "grefs(unc).json").read_text())
        texts = [s["sent"] for reference in references for s in reference["sentences"]]
        expressions = list(dict.fromkeys(texts))[:200]
        one = library(place / f"1x{total}", real, predictor, 1, total)
        many = library(
            place / f"{chosen.albums}x{chosen.photos}", real, predictor,
            chosen.albums, chosen.photos,
        )  # fmt: skip
        figures: dict[str, Any] = {"photos": total, "albums": chosen.albums}
        libraries = {"one": one, "many": many}
        figures |= alone(libraries, predictor, expressions, chosen.queries)
        for name, settings in libraries.items():
            with server(settings) as address:
                figures[name]["crowd"] = crowd(address, expressions, chosen.clients, chosen.seconds)
    reached = _reached(figures)
    figures["bars"] = reached
    print(json.dumps(figures, indent=2) if chosen.json else _table(figures))
    return 0 if all(each["held"] for each in reached.values()) else 1


def _reached(figures: dict[str, Any]) -> dict[str, dict[str, Any]]:
    one, many = figures["one"], figures["many"]
    values = [
        many["fast"]["p50_s"] / one["fast"]["p50_s"],
        many["exhaustive"]["p50_s"] / one["exhaustive"]["p50_s"],
        many["crowd"]["errors"],
        (many["crowd"]["p95_s"] or float("inf")) / (one["crowd"]["p95_s"] or float("inf")),
        max(many["crowd"]["health_worst_s"], one["crowd"]["health_worst_s"]),
    ]
    return {
        name: {"value": round(float(value), 3), "bar": bar, "held": bool(value <= bar)}
        for (name, bar), value in zip(BARS.items(), values, strict=True)
    }


def _table(figures: dict[str, Any]) -> str:
    lines = [f"{figures['photos']:,} photos in 1 and in {figures['albums']:,} albums"]
    lines += [f"{name}: {json.dumps(figures[name])}" for name in ("one", "many")]
    for name, each in figures["bars"].items():
        lines.append(f"{name}: {each['value']} (bar {each['bar']}, "
                     f"{'held' if each['held'] else 'MISSED'})")  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
