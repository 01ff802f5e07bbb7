"""Fast searches over a million photos on one machine: time, recall, memory, building, appending.

Run: python -m benchmarks.million_search [--photos 1000000] [--place FOLDER] [--json]

The album is copies with noise of a small real one (see `_replicas`), whose masks are shared; a
photo takes some 25 KB of the disk. A library of 10,000 photos stands beside it, in a folder of its
own, for one FAISS file holds what a library has. Each part runs in a process of its own, whose
memory beyond mapped files (RssAnon) is told. `--keep` leaves the libraries, and what is there
already is used again.

Recall: the share of the 200 candidates that the head accepts, where enough of the album would be
accepted; and of the photos that inner products rank highest, how many the probed lists hold.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._replicas import drop_pages, grow
from benchmarks.latency import REAL, endless, percentiles, real_album
from indexer.db.catalog import Catalog
from indexer.encoding.alone import index_album
from indexer.features import vector_file
from indexer.features.prefilter import RERANKED_MIN
from indexer.features.scored_file import LISTS_A_SHARE, LISTS_MIN
from indexer.features.store import FeatureStore
from indexer.features.vector_builds import build
from indexer.folders.albums import ensure_album
from indexer.settings import Settings
from model.build import load_predictor
from search_api.search.engine import Engine, View
from search_api.search.filters import Filters
from search_api.search.pipeline import collect
from search_api.search.query import Query

SMALL = 10_000
ALBUM = "replicas"
MORE = 10_000
K = 200
SEARCHES = 40
# What the issue asks for.
BARS = {"p95_ratio": 2.0, "anonymous_mib": 2048.0, "build_s": 1200.0, "append_s": 30.0,
        "first_s": 5.0}  # fmt: skip


def anonymous_mib() -> float:
    """Memory of this process that is no mapped file's."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status does not tell it")


class Peak:
    """The most anonymous memory while a block runs."""

    def __enter__(self) -> Peak:
        self.mib, self._over = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            self.mib = max(self.mib, anonymous_mib())


def fill(place: Path, photos: int) -> dict[str, Any]:
    """Index the real photos and copy them until the album has so many."""
    settings = Settings(home=place / "home", model="rela-mini")
    predictor = load_predictor(settings.model, head_dtype=settings.head_dtype)
    begun = time.perf_counter()
    with Catalog.open(settings) as catalog:
        folder, expressions = real_album(place, None, 200)
        (place / "expressions.json").write_text(json.dumps(expressions))
        with catalog.session() as session:
            ensure_album(session, [folder], name=REAL, exclude=["ids-*"])
        index_album(settings, REAL, predictor, catalog=catalog)
        grow(catalog, FeatureStore.open(settings, catalog), predictor, REAL, ALBUM, photos)
        catalog.refresh_statistics()
    return {"seconds": time.perf_counter() - begun}


def built(place: Path, photos: int) -> dict[str, Any]:
    """Build the library's FAISS file."""
    settings = Settings(home=place / "home", model="rela-mini")
    predictor = load_predictor(settings.model)
    with Engine.open(settings, predictor) as engine:
        from indexer.features.snapshot import open_snapshot

        with engine.catalog.reading() as session:
            from indexer.db.catalog import album_named

            album = album_named(session, ALBUM).id
        snapshot = open_snapshot(engine.catalog, engine.store, album, predictor.fingerprints)
        begun, before = time.perf_counter(), anonymous_mib()
        with Peak() as peak:
            manifest = build(settings.features_dir, snapshot, predictor)
        assert manifest is not None
    return {
        "seconds": time.perf_counter() - begun,
        "peak_mib": peak.mib - before,
        "kind": manifest.kind,
        "bytes_a_photo": manifest.bytes / manifest.rows,
    }


def searched(place: Path, photos: int) -> dict[str, Any]:
    """What a server does after a restart: a first query, then many, plain and filtered."""
    settings = Settings(home=place / "home", model="rela-mini")
    predictor = load_predictor(settings.model, head_dtype=settings.head_dtype)
    fresh = endless(json.loads((place / "expressions.json").read_text()))
    predictor.read(["a warm-up"])
    drop_pages(settings.features_dir)
    begun = time.perf_counter()
    with Engine.open(settings, predictor) as engine:
        collect(engine, Query(expression=next(fresh), album=ALBUM))
        first = time.perf_counter() - begun
        [view] = engine.views(ALBUM)

        def ask(filters: Filters) -> tuple[float, float, float]:
            begun = time.perf_counter()
            done = collect(engine, Query(expression=next(fresh), album=ALBUM, filters=filters))
            ms = (time.perf_counter() - begun) * 1000
            at = done.coverage
            return ms, at.matched / max(at.verified, 1), done.run.timings["prefilter"]

        plain = [ask(Filters()) for _ in range(SEARCHES)]
        one_in_a_hundred = Filters(path="*37.jpg")
        first_filtered = ask(one_in_a_hundred)[0]
        filtered = [ask(one_in_a_hundred) for _ in range(SEARCHES // 2)]
        found = {
            "photos": len(view.snapshot),
            "kind": view.prefilter.kind,
            "first_s": first,
            "ms": percentiles([each[0] for each in plain]),
            "prefilter_ms": percentiles([each[2] for each in plain]),
            "accepted_of_candidates": float(np.mean([each[1] for each in plain])),
            "filtered_first_ms": first_filtered,
            "filtered_ms": percentiles([each[0] for each in filtered]),
            "anonymous_mib": anonymous_mib(),
        }
        return {**found, **bare(view, predictor, fresh)}


def bare(view: View, predictor: Any, fresh: Any) -> dict[str, Any]:
    """FAISS alone on the same file, and how many of the best by all lists the probed ones hold."""
    path = vector_file.manifest_path(
        view.snapshot.store.folder, view.snapshot.fingerprints["vectors"]
    )
    manifest = vector_file.read_manifest(path)
    index = vector_file.read_index(path.parent / manifest.file, manifest)
    times, held = [], []
    probed = None
    if manifest.kind == "ivf":
        share = RERANKED_MIN / len(view.snapshot)
        probed = int(max(LISTS_MIN, index.nlist * LISTS_A_SHARE * share))
    for _ in range(10):
        query = predictor.read([next(fresh)]).sentence[:1]
        begun = time.perf_counter()
        near = best_photos(index, query, probed, manifest.vectors)
        times.append((time.perf_counter() - begun) * 1000)
        if probed is not None:
            best = best_photos(index, query, index.nlist, manifest.vectors)[:RERANKED_MIN]
            held.append(len(np.intersect1d(near, best)) / len(best))
    return {
        "faiss_ms": percentiles(times),
        "lists": probed and index.nlist,
        "probed": probed,
        "held_of_best": float(np.mean(held)) if held else 1.0,
    }


def best_photos(index: Any, query: np.ndarray, probe: int | None, vectors: int) -> np.ndarray:
    """Rows of the photos whose vectors fit best, best first."""
    import faiss

    wanted = 4 * RERANKED_MIN + 64
    if probe is None:
        _, ids = index.search(query, wanted)
    else:
        parameters = faiss.SearchParametersIVF(nprobe=probe)
        _, ids = index.search(query, wanted, params=parameters)
    rows = ids[0][ids[0] >= 0] // vectors
    _, first = np.unique(rows, return_index=True)
    return rows[np.sort(first)]


def appended(place: Path, photos: int) -> dict[str, Any]:
    """Photos come: from their commit to a search that looks at them, with nothing built anew."""
    settings = Settings(home=place / "home", model="rela-mini")
    predictor = load_predictor(settings.model, head_dtype=settings.head_dtype)
    with Engine.open(settings, predictor) as engine:
        collect(engine, Query(expression="a dog", album=ALBUM))
        before = len(engine.views(ALBUM)[0].snapshot)
        begun = time.perf_counter()
        grow(engine.catalog, engine.store, predictor, REAL, ALBUM, MORE)
        committed = time.perf_counter() - begun
        collect(engine, Query(expression="a dog", album=ALBUM))
        [view] = engine.views(ALBUM)
        while len(view.snapshot) == before:  # a view that took long to open serves on for a while
            time.sleep(0.1)
            [view] = engine.views(ALBUM)
        collect(engine, Query(expression="a cat", album=ALBUM))
        seconds = time.perf_counter() - begun
        assert len(view.snapshot) == before + MORE
        return {"seconds": seconds, "commit_s": committed, "rebuilt": view.prefilter.rebuilt,
                "anonymous_mib": anonymous_mib()}  # fmt: skip


PARTS: dict[str, Callable[[Path, int], dict[str, Any]]] = {
    "fill": fill, "build": built, "search": searched, "append": appended,
}  # fmt: skip


def in_child(part: str, place: Path, photos: int) -> dict[str, Any]:
    """A part of the measurement in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.million_search", "--part", part,
               "--place", str(place), "--photos", str(photos)]  # fmt: skip
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measure(place: Path, photos: int, parts: Sequence[str]) -> dict[str, Any]:
    """Both libraries, small and large; those of the parts that are wanted."""
    found: dict[str, Any] = {}
    for size in (SMALL, photos):
        library = place / str(size)
        library.mkdir(parents=True, exist_ok=True)
        for part in parts:
            if part == "append" and size == SMALL:
                continue
            if part == "fill" and (library / "expressions.json").exists():
                continue
            found[f"{part} {size}"] = in_child(part, library, size)
            print(f"{part} {size:,}: {json.dumps(found[f'{part} {size}'])}", file=sys.stderr)
    small, large = (found.get(f"search {size}") for size in (SMALL, photos))
    if small and large:
        found["p95_ratio"] = large["ms"]["p95"] / small["ms"]["p95"]
        found["faiss_ratio"] = large["prefilter_ms"]["p50"] / large["faiss_ms"]["p50"]
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=1_000_000)
    parser.add_argument("--place", type=Path, help="where the libraries lie; default: a new folder")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--parts", default=",".join(PARTS), help="some of them, in this order")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.part:
        print(json.dumps(PARTS[options.part](options.place, options.photos)))
        return
    place = options.place or Path(tempfile.mkdtemp(prefix="referent-million-"))
    try:
        found = measure(place, options.photos, options.parts.split(","))
    finally:
        if not options.keep:
            shutil.rmtree(place)
    if options.json:
        print(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        print(f"{name:24} {value}")
    print("bars: " + ", ".join(f"{name} {value:,.0f}" for name, value in BARS.items()))


if __name__ == "__main__":
    main()
