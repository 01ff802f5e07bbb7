"""How long a search takes, by stage, on albums of growing size: warm and cold, p50, p95, p99.

Run: python benchmarks/latency.py [--sizes 1000,10000,100000] [--photos FOLDER] [--json]

The real part is indexed with the real network: a synthetic album, or FOLDER. Beyond it, region
tokens and prefilter vectors are copies of real ones with noise, so the larger albums cost what
real ones cost but say nothing about quality. Every figure comes from one run of this program.

Compared with: the whole network on each candidate (what a search would cost without the cache) and
a bare FAISS query over the same vectors (what a similarity search costs, which verifies nothing).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import insert, select

from indexer.albums import ensure_album
from indexer.catalog import Catalog
from indexer.ingest import index_album
from indexer.owner import new_owner
from indexer.settings import Settings
from indexer.snapshot import open_snapshot
from indexer.store import FeatureStore, Part
from indexer.tables import Album, FeatureRow, Photo, Root
from model.build import load_predictor
from model.predictor import Predictor
from search_api.engine import Engine
from search_api.pipeline import Done, Progress, collect, search
from search_api.query import Query
from search_api.shown import show

REAL_PHOTOS = 300
BLOCK = 5000
SHOWN = 24
RECALL = 0.95
WARM_QUERIES = 40
EXHAUSTIVE_QUERIES = 5
CLIENTS = 20
BARS = (
    ("fast p95 at 10,000 photos, 200 verified", 300.0),
    ("exhaustive p95 at 10,000 photos", 5000.0),
    ("first hits of an exhaustive search at 10,000 photos, p95", 300.0),
)


def real_album(place: Path, photos: Path | None) -> tuple[Path, list[str]]:
    """A folder of photos and expressions to search it with."""
    if photos is not None:
        return photos, [f"{what} {where}" for what in NOUNS for where in PLACES]
    from training.album import AlbumPlan, write_album

    folder = place / "album"
    for _ in write_album(AlbumPlan(REAL_PHOTOS, 7), folder, max(1, (os.cpu_count() or 1))):
        pass
    references = json.loads((folder / "grefs(unc).json").read_text())
    texts = [s["sent"] for reference in references for s in reference["sentences"]]
    return folder, list(dict.fromkeys(texts))


NOUNS = ("man in black", "woman", "dog", "white car", "red bus", "kid in blue", "cat", "chair",
         "person with umbrella", "horse", "tennis player", "pizza", "zebra", "train")  # fmt: skip
PLACES = ("", "on the left", "in front", "without a hat")


def grow(catalog: Catalog, store: FeatureStore, predictor: Predictor, name: str, size: int) -> None:
    """Make an album of `size` photos out of the records of the real one."""
    dice = np.random.default_rng(size)
    with catalog.session() as session:
        real = session.execute(
            select(Photo.content_hash, Photo.width, Photo.height)
            .join(Album)
            .where(Album.name == "real", Photo.status == "indexed")
            .order_by(Photo.id)
        ).all()
        album = Album(name=name, settings={})
        session.add(album)
        session.flush()
        root = Root(album_id=album.id, path=f"/nowhere/{name}".encode(), mounts=[])
        session.add(root)
        session.flush()
        album_id, root_id = album.id, root.id
        real_id = session.scalars(select(Album.id).where(Album.name == "real")).one()
    with open_snapshot(catalog, store, real_id, predictor.fingerprints) as snapshot:
        rows = np.arange(len(snapshot))
        records = {tier: snapshot.gather(tier, rows).copy() for tier in ("tokens", "vectors")}
    for start in range(0, size, BLOCK):
        chosen = np.arange(start, min(size, start + BLOCK)) % len(real)
        hashes = [f"{size:08x}{start + i:032x}" for i in range(len(chosen))]
        parts = [
            Part(
                tier,
                predictor.fingerprints[tier],
                records[tier].dtype,
                hashes,
                noisy(records[tier][chosen], dice),
            )
            for tier in records
        ]
        store.commit(parts, new_owner())
        with catalog.session() as session:
            session.execute(
                insert(Photo),
                [
                    {
                        "album_id": album_id,
                        "root_id": root_id,
                        "path": f"{start + i:07d}.jpg".encode(),
                        "content_hash": digest,
                        "size": 1,
                        "mtime_ns": 0,
                        "inode": 0,
                        "format": "JPEG",
                        "width": real[at].width,
                        "height": real[at].height,
                        "status": "indexed",
                        "seen_at": 0.0,
                        "added_at": 0.0,
                    }
                    for i, (digest, at) in enumerate(zip(hashes, chosen, strict=True))
                ],
            )
            # Mask features are far larger; a copy's row points at those of its original.
            fingerprint = predictor.fingerprints["masks"]
            masks = {
                row.content_hash: (row.segment_id, row.position)
                for row in session.scalars(
                    select(FeatureRow).where(
                        FeatureRow.fingerprint == fingerprint,
                        FeatureRow.content_hash.in_([each.content_hash for each in real]),
                    )
                )
            }
            session.execute(
                insert(FeatureRow),
                [
                    {
                        "fingerprint": fingerprint,
                        "content_hash": digest,
                        "segment_id": masks[real[at].content_hash][0],
                        "position": masks[real[at].content_hash][1],
                    }
                    for digest, at in zip(hashes, chosen, strict=True)
                ],
            )


def noisy(records: np.ndarray, dice: np.random.Generator) -> np.ndarray:
    """Records that differ a little from their originals."""
    out = records.copy()
    for field in out.dtype.names or ():
        values = out[field]
        if values.dtype == np.int8:
            noise = dice.integers(-2, 3, values.shape, np.int8)
            out[field] = np.clip(values.astype(np.int16) + noise, -127, 127).astype(np.int8)
        elif values.dtype == np.float16:
            noise = dice.normal(0, 0.02, values.shape).astype(np.float32)
            out[field] = (values.astype(np.float32) + noise).astype(np.float16)
    return out


def drop_pages(folder: Path) -> None:
    """Ask the system to forget what it holds of the feature files, as after a restart."""
    for file in folder.rglob("*"):
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p95 and p99, milliseconds."""
    return {f"p{p}": round(float(np.percentile(values, p)), 1) for p in (50, 95, 99)}


def stages_of(runs: Sequence[Done]) -> dict[str, dict[str, float]]:
    """Percentiles of each stage."""
    names = {name: None for done in runs for name in done.timings}
    return {name: percentiles([done.timings.get(name, 0.0) for done in runs]) for name in names}


def k_for_recall(engine: Engine, expressions: Sequence[str]) -> dict[str, Any]:
    """The least K whose candidates hold 0.95 of the exhaustive hits on the real part."""
    ranks: list[int] = []
    view = engine.views("real")[0]
    count = len(view.snapshot)
    for expression in expressions:
        done = collect(engine, Query(expression=expression, album="real", mode="exhaustive"))
        words = engine.models.words(view.predictor, expression)
        order, _ = view.prefilter.search(words.sentence[0], count, None)
        place = {int(view.snapshot.photo_ids[row]): rank for rank, row in enumerate(order)}
        ranks += [place[photo_id] for photo_id, _ in done.matched_pairs()]
    if not ranks:
        return {"photos": count, "hits": 0, "k": None}
    k = int(np.sort(ranks)[int(np.ceil(RECALL * len(ranks))) - 1]) + 1
    return {"photos": count, "hits": len(ranks), "k": k, "share": round(k / count, 3)}


def one_size(
    settings: Settings, predictor: Predictor, album: str, expressions: Iterator[str], k: int
) -> dict[str, Any]:
    """Cold, warm and exhaustive searches of one album."""
    drop_pages(settings.features_dir)
    begun = time.perf_counter()
    engine = Engine.open(settings, predictor)
    cold = collect(engine, Query(expression=next(expressions), album=album, candidates=k))
    cold_ms = (time.perf_counter() - begun) * 1000
    fingerprint = predictor.fingerprints["masks"]
    fast, shown_ms = [], []
    for _ in range(WARM_QUERIES):
        begun = time.perf_counter()
        done = collect(engine, Query(expression=next(expressions), album=album, candidates=k))
        fast.append(done)
        rendering = time.perf_counter()
        show(engine, done.matched[:SHOWN], fingerprint)
        done.timings["render"] = (time.perf_counter() - rendering) * 1000
        shown_ms.append((time.perf_counter() - begun) * 1000)
    whole, first_ms = [], []
    queries = EXHAUSTIVE_QUERIES if len(engine.views(album)[0].snapshot) <= 10_000 else 1
    for _ in range(queries):
        begun = time.perf_counter()
        first = None
        query = Query(expression=next(expressions), album=album, mode="exhaustive")
        for event in search(engine, query):
            if first is None and isinstance(event, Progress):
                first = (time.perf_counter() - begun) * 1000
            if isinstance(event, Done):
                whole.append(event)
        first_ms.append(first or 0.0)
    view = engine.views(album)[0]
    found = {
        "photos": len(view.snapshot),
        "k": k,
        "verified": fast[-1].coverage.verified,
        "cold_ms": round(cold_ms, 1),
        "cold_stages": cold.timings,
        "fast": stages_of(fast),
        "fast_with_masks": percentiles(shown_ms),
        "exhaustive": stages_of(whole),
        "first_verified": percentiles(first_ms),
        "bare_faiss": bare_faiss(view, k, expressions),
    }
    engine.close()
    return found


def bare_faiss(view: Any, k: int, expressions: Iterator[str]) -> dict[str, float]:
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

    from search_api.app import create_app

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
    parser.add_argument("--model", default="rela-mini")
    parser.add_argument("--candidates", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="referent-bench-") as temporary:
        place = Path(temporary)
        settings = Settings(home=place / "home", model=options.model)
        folder, expressions = real_album(place, options.photos)
        predictor = load_predictor(options.model, device="cpu")
        catalog = Catalog.open(settings)
        with catalog.session() as session:
            ensure_album(session, [folder], name="real", exclude=["ids-*"])
        index_album(settings, "real", predictor, catalog=catalog)
        engine = Engine.open(settings, predictor)
        recall = k_for_recall(engine, expressions[:60])
        engine.close()
        store = FeatureStore.open(settings, catalog)
        sizes = [int(size) for size in options.sizes.split(",")]
        found: dict[str, Any] = {
            "cores": os.cpu_count(),
            "load_before": round(os.getloadavg()[0], 2),
            "recall": recall,
            "whole_network": whole_network(predictor, options.candidates),
            "albums": [],
        }
        fresh = endless(expressions)
        for size in sizes:
            grow(catalog, store, predictor, f"album{size}", size)
            one = one_size(settings, predictor, f"album{size}", fresh, options.candidates)
            found["albums"].append(one)
            if not options.json:
                report_size(one)
        middle = f"album{min(sizes, key=lambda size: abs(size - 10_000))}"
        found["clients"] = many_clients(settings, predictor, middle)
        catalog.close()
    if options.json:
        json.dump(found, sys.stdout, indent=2)
        return
    report_rest(found)


def report_size(one: dict[str, Any]) -> None:
    """Print the figures of one album."""
    print(f"\n{one['photos']:,} photos, {one['verified']} verified (K = {one['k']}); milliseconds")
    print(f"  cold, first search with nothing open: {one['cold_ms']:,.0f}")
    for title, name in (("fast", "fast"), ("exhaustive", "exhaustive")):
        for stage, values in one[name].items():
            print(f"  {title:<11} {stage:<10} " + _line(values))
    print(f"  {'with masks of ' + str(SHOWN):<22} " + _line(one["fast_with_masks"]))
    print(f"  {'first verified batch':<22} " + _line(one["first_verified"]))
    print(f"  {'bare FAISS query':<22} " + _line(one["bare_faiss"]))


def report_rest(found: dict[str, Any]) -> None:
    """Print what does not belong to one album, and the bars."""
    recall, network, clients = found["recall"], found["whole_network"], found["clients"]
    print(f"\nK that holds {RECALL} of the {recall['hits']} exhaustive hits on the real "
          f"{recall['photos']} photos: {recall['k']}")  # fmt: skip
    print(f"whole network instead of the cache: {network['photo_ms']} ms a photo, "
          f"{network['candidates_ms']:,.0f} ms for the candidates")  # fmt: skip
    print(f"{clients['clients']} clients: {clients['searches']} searches, {clients['errors']} "
          f"errors, {clients['a_second']}/s, {_line(clients['latency_ms'])}")  # fmt: skip
    print(f"first query after readiness: {clients['first_after_ready_ms']:,.0f} ms (bar 2,000)")
    by_size = {one["photos"]: one for one in found["albums"]}
    if ten := by_size.get(10_000):
        measured = (
            ten["fast"]["total"]["p95"],
            ten["exhaustive"]["total"]["p95"],
            ten["first_verified"]["p95"],
        )
        for (name, bar), value in zip(BARS, measured, strict=True):
            print(f"{name}: {value:,.0f} ms (bar {bar:,.0f})")
        if hundred := by_size.get(100_000):
            ratio = hundred["fast"]["total"]["p50"] / ten["fast"]["total"]["p50"]
            print(f"100,000 against 10,000 photos, fast p50: {ratio:.2f} times (bar 1.7)")
    print(f"{found['cores']} cores; load before the measurement {found['load_before']}")


def _line(values: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:9,.1f}" for name, value in values.items())


if __name__ == "__main__":
    main()
