"""How long a search takes, by stage, on albums of growing size: warm and cold, p50, p95, p99.

Run: python -m benchmarks.latency [--sizes 1000,10000,100000] [--photos FOLDER] [--json]

The real part is indexed with the real network: a synthetic album of 1,000 photos, or FOLDER.
Larger albums are copies of its region tokens and prefilter vectors with noise: they cost what real
ones cost and say nothing about quality. Every figure comes from one run of this program.

Fast searches are timed with 200 candidates and with the K that reaches 0.95 of the exhaustive hits
on the real part, the same share of a larger album (at most 5,000). Compared with: the whole network
on each candidate (a search without the cache) and a bare FAISS query over the same vectors (a
similarity search, which verifies nothing).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._replicas import drop_pages, grow
from indexer.db.catalog import Catalog
from indexer.encoding.alone import index_album
from indexer.features.store import FeatureStore
from indexer.folders.albums import ensure_album
from indexer.settings import Settings
from model.build import load_predictor
from model.predictor import Predictor
from search_api.search.engine import Engine, View
from search_api.search.events import Done, Found
from search_api.search.pipeline import collect, search
from search_api.search.query import DEFAULT_CANDIDATES, MAX_CANDIDATES, Query
from search_api.show.shown import show

REAL = "real"
REAL_PHOTOS = 1000
SHOWN = 24
RECALL = 0.95
RECALL_QUERIES = 40
WARM_QUERIES = 100
AT_K_QUERIES = 10
EXHAUSTIVE_QUERIES = 10
CLIENTS = 20
BARS = {
    "fast p95 at 10,000 photos, 200 verified": 300.0,
    "exhaustive p95 at 10,000 photos": 5000.0,
    "first hits of an exhaustive search at 10,000 photos, p95": 300.0,
    "first query after readiness": 2000.0,
}
RATIO_BAR = 1.7


def real_album(place: Path, photos: Path | None, count: int) -> tuple[Path, list[str]]:
    """A folder of photos and expressions to search it with."""
    if photos is not None:
        return photos, [f"{what} {where}" for what in NOUNS for where in PLACES]
    from training.data.album import AlbumPlan, write_album

    folder = place / "album"
    for _ in write_album(AlbumPlan(count, 7), folder, max(1, (os.cpu_count() or 1))):
        pass
    references = json.loads((folder / "grefs(unc).json").read_text())
    texts = [s["sent"] for reference in references for s in reference["sentences"]]
    return folder, list(dict.fromkeys(texts))


NOUNS = ("man in black", "woman", "dog", "white car", "red bus", "kid in blue", "cat", "chair",
         "person with umbrella", "horse", "tennis player", "pizza", "zebra", "train")  # fmt: skip
PLACES = ("", "on the left", "in front", "without a hat")


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p95 and p99, milliseconds."""
    return {f"p{p}": round(float(np.percentile(values, p)), 1) for p in (50, 95, 99)}


def stages_of(runs: Sequence[Done]) -> dict[str, dict[str, float]]:
    """Percentiles of each stage."""
    names = {name: None for done in runs for name in done.run.timings}
    return {name: percentiles([done.run.timings.get(name, 0.0) for done in runs]) for name in names}


def k_for_recall(engine: Engine, expressions: Sequence[str]) -> dict[str, Any]:
    """The least K whose candidates hold 0.95 of the exhaustive hits on the real part."""
    ranks: list[int] = []
    view = engine.views(REAL)[0]
    count = len(view.snapshot)
    for expression in expressions:
        done = collect(engine, Query(expression=expression, album=REAL, mode="exhaustive"))
        words = engine.models.words(view.predictor, expression)
        order, _ = view.candidates(words, count, None)
        place = {int(view.snapshot.photo_ids[row]): rank for rank, row in enumerate(order)}
        ranks += [place[photo_id] for photo_id, _ in done.matched_pairs()]
    if not ranks:
        return {"photos": count, "hits": 0, "k": None, "share": None}
    k = int(np.sort(ranks)[int(np.ceil(RECALL * len(ranks))) - 1]) + 1
    return {"photos": count, "hits": len(ranks), "k": k, "share": round(k / count, 3)}


def one_size(
    settings: Settings,
    predictor: Predictor,
    album: str,
    expressions: Iterator[str],
    candidates: int,
    share: float | None,
) -> dict[str, Any]:
    """Cold, warm and exhaustive searches of one album."""
    drop_pages(settings.features_dir)
    begun = time.perf_counter()
    engine = Engine.open(settings, predictor)
    cold = collect(engine, Query(expression=next(expressions), album=album, candidates=candidates))
    cold_ms = (time.perf_counter() - begun) * 1000
    view = engine.views(album)[0]
    count = len(view.snapshot)
    fast, shown_ms = fast_searches(engine, album, expressions, candidates, WARM_QUERIES)
    at_k = None
    if share is not None:
        k = min(MAX_CANDIDATES, math.ceil(share * count))
        found, _ = fast_searches(engine, album, expressions, k, AT_K_QUERIES)
        at_k = {"k": k, "verified": found[-1].coverage.verified, "stages": stages_of(found)}
    queries = EXHAUSTIVE_QUERIES if count <= 10_000 else 1
    whole, first_ms = exhaustive_searches(engine, album, expressions, queries)
    figures = {
        "photos": count,
        "verified": fast[-1].coverage.verified,
        "cold_ms": round(cold_ms, 1),
        "cold_stages": cold.run.timings,
        "fast": stages_of(fast),
        "fast_with_masks": percentiles(shown_ms),
        "fast_at_k": at_k,
        "exhaustive": stages_of(whole),
        "matched": [done.coverage.matched for done in whole],
        "first_hits": percentiles(first_ms) if first_ms else None,
        "bare_faiss": bare_faiss(view, candidates, expressions),
    }
    engine.close()
    return figures


def fast_searches(
    engine: Engine, album: str, expressions: Iterator[str], candidates: int, count: int
) -> tuple[list[Done], list[float]]:
    """Warm searches, and the milliseconds of each with the masks of its first page."""
    fast, shown_ms = [], []
    fingerprint = engine.views(album)[0].predictor.fingerprints
    for _ in range(count):
        begun = time.perf_counter()
        query = Query(expression=next(expressions), album=album, candidates=candidates)
        done = collect(engine, query)
        rendering = time.perf_counter()
        show(engine, done.matched[:SHOWN], fingerprint)
        done.run.timings["render"] = (time.perf_counter() - rendering) * 1000
        shown_ms.append((time.perf_counter() - begun) * 1000)
        fast.append(done)
    return fast, shown_ms


def exhaustive_searches(
    engine: Engine, album: str, expressions: Iterator[str], count: int
) -> tuple[list[Done], list[float]]:
    """Streamed searches to their ends, and after how many milliseconds the first hit came.

    A search without a hit has no first one.
    """
    whole, first_ms = [], []
    for _ in range(count):
        begun = time.perf_counter()
        first = None
        for event in search(
            engine, Query(expression=next(expressions), album=album, mode="exhaustive")
        ):
            if first is None and isinstance(event, Found):
                first = (time.perf_counter() - begun) * 1000
            if isinstance(event, Done):
                whole.append(event)
        if first is not None:
            first_ms.append(first)
    return whole, first_ms


def bare_faiss(view: View, k: int, expressions: Iterator[str]) -> dict[str, float]:
    """A plain FAISS query over every vector of the album, 8 bit codes, nothing grouped."""
    import faiss

    step = 10_000
    first = view.predictor.vectors_of(view.snapshot.gather("vectors", np.arange(8)))
    index = faiss.IndexScalarQuantizer(
        first.shape[2], faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    )
    for start in range(0, len(view.snapshot), step):
        rows = np.arange(start, min(len(view.snapshot), start + step))
        vectors = view.predictor.vectors_of(view.snapshot.gather("vectors", rows))
        flat = np.ascontiguousarray(vectors.reshape(-1, vectors.shape[2]), np.float32)
        if not index.is_trained:
            index.train(flat)
        index.add(flat)
    times = []
    for _ in range(10):
        words = view.predictor.read([next(expressions)])
        begun = time.perf_counter()
        index.search(np.ascontiguousarray(words.sentence[:1], np.float32), k)
        times.append((time.perf_counter() - begun) * 1000)
    return percentiles(times)


def whole_network(predictor: Predictor, k: int) -> dict[str, float]:
    """Encoding and judging one candidate without the cache, and what k of them would cost."""
    pixels = np.zeros((8, predictor.input_size, predictor.input_size, 3), np.uint8)
    words = predictor.read(["a dog"])
    predictor.judge(predictor.encode(pixels, ("tokens",))["tokens"], words)
    begun = time.perf_counter()
    for _ in range(3):
        predictor.judge(predictor.encode(pixels, ("tokens",))["tokens"], words)
    one = (time.perf_counter() - begun) * 1000 / 24
    return {"photo_ms": round(one, 2), "candidates_ms": round(one * k, 1)}


def many_clients(settings: Settings, predictor: Predictor, album: str) -> dict[str, Any]:
    """CLIENTS clients at once over HTTP, five searches each."""
    import uvicorn
    from httpx import Client

    from search_api.http.app import create_app

    engine = Engine.open(settings, predictor)
    app = create_app(settings, host="127.0.0.1", engine=engine)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    base = f"http://127.0.0.1:{port}"
    with Client(base_url=base, timeout=300) as client:
        while client.get("/readyz").status_code != 200:
            time.sleep(0.05)
        begun = time.perf_counter()
        body = {"expression": "the first query", "album": album}
        client.post("/v1/search", json=body).raise_for_status()
        first_ms = (time.perf_counter() - begun) * 1000
    times: list[float] = []
    statuses: list[int] = []

    def one(number: int) -> None:
        with Client(base_url=base, timeout=300) as client:
            for turn in range(5):
                begun = time.perf_counter()
                body = {"expression": f"thing {number} of {turn}", "album": album}
                statuses.append(client.post("/v1/search", json=body).status_code)
                times.append((time.perf_counter() - begun) * 1000)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(CLIENTS)]
    begun = time.perf_counter()
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    seconds = time.perf_counter() - begun
    server.should_exit = True
    thread.join()
    engine.close()
    return {
        "clients": CLIENTS,
        "searches": len(statuses),
        "errors": sum(status != 200 for status in statuses),
        "a_second": round(len(statuses) / seconds, 2),
        "latency_ms": percentiles(times),
        "first_after_ready_ms": round(first_ms, 1),
    }


def endless(expressions: Sequence[str]) -> Iterator[str]:
    """Expressions that never repeat, so that no word features come from the cache."""
    turn = 0
    while True:
        for expression in expressions:
            yield expression if turn == 0 else f"{expression} {turn}"
        turn += 1


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="1000,10000,100000")
    parser.add_argument("--photos", type=Path, help="real photos; default: a synthetic album")
    parser.add_argument("--real", type=int, default=REAL_PHOTOS, help="photos of that album")
    parser.add_argument("--model", default="rela-mini")
    parser.add_argument("--candidates", type=int, default=DEFAULT_CANDIDATES)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="referent-bench-") as temporary:
        found = measure(Path(temporary), options)
    if options.json:
        json.dump(found, sys.stdout, indent=2)
    else:
        report_rest(found)


def measure(place: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Index the real part, grow the albums, take every figure."""
    settings = Settings(home=place / "home", model=options.model)
    load = round(os.getloadavg()[0], 2)
    folder, expressions = real_album(place, options.photos, options.real)
    predictor = load_predictor(options.model, device="cpu", head_dtype=settings.head_dtype)
    found: dict[str, Any] = {
        "cores": os.cpu_count(),
        "load_before": load,
        "head_dtype": str(predictor.head_dtype).removeprefix("torch."),
        "albums": [],
    }
    with Catalog.open(settings) as catalog:
        with catalog.session() as session:
            ensure_album(session, [folder], name=REAL, exclude=["ids-*"])
        index_album(settings, REAL, predictor, catalog=catalog)
        with Engine.open(settings, predictor) as engine:
            found["recall"] = recall = k_for_recall(engine, expressions[:RECALL_QUERIES])
        found["whole_network"] = whole_network(predictor, options.candidates)
        store = FeatureStore.open(settings, catalog)
        fresh = endless(expressions)
        sizes = {}
        for size in (int(each) for each in options.sizes.split(",")):
            name = REAL
            if size != recall["photos"]:
                name = f"album{size}"
                grow(catalog, store, predictor, REAL, name, size)
            sizes[size] = name
            one = one_size(settings, predictor, name, fresh, options.candidates, recall["share"])
            found["albums"].append(one)
            if not options.json:
                report_size(one)
    middle = min(sizes, key=lambda size: abs(size - 10_000))
    found["clients"] = many_clients(settings, predictor, sizes[middle])
    return found


def report_size(one: dict[str, Any]) -> None:
    """Print the figures of one album."""
    print(f"\n{one['photos']:,} photos, {one['verified']} verified; milliseconds")
    print(f"  cold, no album open and no file in memory: {one['cold_ms']:,.0f}")
    for name in ("fast", "exhaustive"):
        for stage, values in one[name].items():
            print(f"  {name:<11} {stage:<10} " + _line(values))
    print(f"  {'fast, masks of ' + str(SHOWN):<22} " + _line(one["fast_with_masks"]))
    if at_k := one["fast_at_k"]:
        print(f"  {'fast, K = ' + format(at_k['k'], ','):<22} " + _line(at_k["stages"]["total"]))
    if one["first_hits"]:
        print(f"  {'exhaustive, first hit':<22} " + _line(one["first_hits"]))
    print(f"  {'bare FAISS query':<22} " + _line(one["bare_faiss"]), flush=True)


def report_rest(found: dict[str, Any]) -> None:
    """Print what does not belong to one album, and the bars."""
    recall, network, clients = found["recall"], found["whole_network"], found["clients"]
    print(f"\nK that holds {RECALL} of the {recall['hits']} exhaustive hits on the real "
          f"{recall['photos']:,} photos: {recall['k']}")  # fmt: skip
    print(f"whole network instead of the cache: {network['photo_ms']} ms a photo, "
          f"{network['candidates_ms']:,.0f} ms for the candidates")  # fmt: skip
    print(f"{clients['clients']} clients: {clients['searches']} searches, {clients['errors']} "
          f"errors, {clients['a_second']}/s, {_line(clients['latency_ms'])}")  # fmt: skip
    by_size = {one["photos"]: one for one in found["albums"]}
    measured: list[float | None] = [None, None, None, clients["first_after_ready_ms"]]
    if ten := by_size.get(10_000):
        first = ten["first_hits"]["p95"] if ten["first_hits"] else None
        measured[:3] = [ten["fast"]["total"]["p95"], ten["exhaustive"]["total"]["p95"], first]
    for (name, bar), value in zip(BARS.items(), measured, strict=True):
        if value is not None:
            print(f"{name}: {value:,.0f} ms (bar {bar:,.0f})")
    if (ten := by_size.get(10_000)) and (hundred := by_size.get(100_000)):
        for name in ("p50", "p95"):
            ratio = hundred["fast"]["total"][name] / ten["fast"]["total"][name]
            print(f"100,000 against 10,000 photos, fast {name}: {ratio:.2f} times "
                  f"(bar {RATIO_BAR})")  # fmt: skip
    print(f"head in {found['head_dtype']}; {found['cores']} cores; load before "
          f"{found['load_before']}")  # fmt: skip


def _line(values: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:9,.1f}" for name, value in values.items())


if __name__ == "__main__":
    main()
