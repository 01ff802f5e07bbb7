"""How much of what the head accepts the prefilter finds, and how long it takes.

Run: python benchmarks/prefilter.py [--photos 2000] [--a-kind 25] [--split test] [--rows 1000000]

Recall: a synthetic album goes through the real index; the head judges every photo for every
expression, and what it accepts is the truth. |top K and accepted| / min(K, |accepted|), by kind of
expression. Speed: random vectors by the million, in a real store, flat and in lists.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import insert

from indexer.albums import ensure_album
from indexer.catalog import Catalog
from indexer.ingest import index_album
from indexer.owner import new_owner
from indexer.prefilter import Prefilter
from indexer.settings import Settings
from indexer.snapshot import open_snapshot, revision_of
from indexer.store import FeatureStore, Part
from indexer.tables import Album, Photo, Root

SHARES = (0.01, 0.02, 0.05, 0.10, 0.25)
FIXED_K = 200
# The floors: share of the album → mean recall, and the least of any kind at 25 %.
FLOORS = {0.10: 0.97, 0.25: 0.99}
KIND_FLOOR = 0.93
BLOCK = 20_000


def recall(found: np.ndarray, accepted: np.ndarray) -> float | None:
    """Return |found and accepted| / min(|found|, |accepted|); None where nothing is accepted."""
    total = int(accepted.sum())
    return float(accepted[found].sum()) / min(len(found), total) if total else None


def recalls(options: argparse.Namespace, place: Path) -> dict[str, Any]:
    """Index the album, judge it whole, and compare."""
    from model.build import load_predictor
    from training import testsets

    sizes = testsets.Sizes(album_photos=options.photos, expressions_a_kind=options.a_kind)
    data = testsets.album(options.split, sizes, folder=options.cache)
    predictor = load_predictor(options.model)
    settings = Settings(home=place / "home")
    pictures = data.photos.folder  # type: ignore[attr-defined]
    with Catalog.open(settings) as catalog:
        with catalog.session() as session:
            ensure_album(session, [pictures], name="bench", exclude=["ids-*"])
        index_album(settings, "bench", predictor, catalog=catalog)
        store = FeatureStore.open(settings, catalog)
        kinds: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        with open_snapshot(catalog, store, None, predictor.fingerprints) as snapshot:
            photos = len(snapshot)
            prefilter = Prefilter.open(settings, snapshot, predictor)
            ks = {f"{share:.0%}": max(1, round(share * photos)) for share in SHARES}
            ks[f"K={FIXED_K}"] = FIXED_K
            tokens = snapshot.gather("tokens", np.arange(photos))
            accepted_total = 0
            for text, kind in zip(data.expressions, data.kinds, strict=True):
                words = predictor.read([text])
                confidence = predictor.confidence(predictor.judge(tokens, words))
                accepted = confidence >= predictor.calibration.threshold
                accepted_total += int(accepted.sum())
                order, _ = prefilter.search(words.sentence[0], photos)
                for name, k in ks.items():
                    value = recall(order[:k], accepted)
                    if value is not None:
                        kinds[kind][name].append(value)
    table = {
        kind: {name: float(np.mean(values)) for name, values in rows.items()}
        for kind, rows in sorted(kinds.items())
    }
    everything = {
        name: float(np.mean([value for rows in kinds.values() for value in rows[name]]))
        for name in ks
    }
    return {
        "photos": photos,
        "expressions": len(data.expressions),
        "with_accepted": sum(len(rows["25%"]) for rows in kinds.values()),
        "accepted_an_expression": accepted_total / len(data.expressions),
        "kind": prefilter.kind,
        "mean": everything,
        "by_kind": table,
    }


class Vectors:
    """A predictor as far as the prefilter needs one."""

    fingerprints = {"vectors": "v" * 16, "tokens": "t" * 16}
    dtypes = {
        "vectors": np.dtype([("vectors", "<f2", (16, 128))]),
        "tokens": np.dtype([("nothing", "u1")]),
    }

    def vectors_of(self, records: np.ndarray) -> np.ndarray:
        """Return (B, 16, 128) float32."""
        return records["vectors"].astype(np.float32)


def fill(catalog: Catalog, store: FeatureStore, rows: int) -> None:
    """Make an album of random, clustered vectors and its photos."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((2000, 128)).astype(np.float32)
    with catalog.session() as session:
        album = Album(name="scale", settings={})
        session.add(album)
        session.flush()
        root = Root(album_id=album.id, path=b"/photos")
        session.add(root)
        session.flush()
        album_id, root_id = album.id, root.id
    for start in range(0, rows, BLOCK):
        count = min(BLOCK, rows - start)
        digests = [f"{number:040x}" for number in range(start, start + count)]
        vectors = np.zeros(count, Vectors.dtypes["vectors"])
        values = centres[rng.integers(0, 2000, (count, 16))]
        values += 0.7 * rng.standard_normal(values.shape, np.float32)
        vectors["vectors"] = values / np.linalg.norm(values, axis=-1, keepdims=True)
        tokens = np.zeros(count, Vectors.dtypes["tokens"])
        store.commit(
            [
                Part("vectors", "v" * 16, vectors.dtype, digests, vectors),
                Part("tokens", "t" * 16, tokens.dtype, digests, tokens),
            ],
            new_owner(),
        )
        with catalog.session() as session:
            session.execute(
                insert(Photo),
                [
                    {
                        "album_id": album_id,
                        "root_id": root_id,
                        "path": digest.encode(),
                        "content_hash": digest,
                        "size": 1,
                        "mtime_ns": 1,
                        "inode": 1,
                        "width": 1,
                        "height": 1,
                        "status": "indexed",
                    }
                    for digest in digests
                ],
            )


def speed(rows: int, place: Path) -> dict[str, Any]:
    """CPU time of opening a snapshot and of searching, by what and for how many photos."""
    settings = Settings(home=place / "scale")
    found: dict[str, Any] = {"rows": rows}
    with Catalog.open(settings) as catalog:
        store = FeatureStore.open(settings, catalog)
        fill(catalog, store, rows)
        found["snapshot_s"] = _seconds(
            lambda: open_snapshot(catalog, store, None, Vectors.fingerprints).close()
        )
        found["revision_ms"] = 1e3 * _seconds(
            lambda: revision_of(catalog, None, Vectors.fingerprints)
        )
        rng = np.random.default_rng(1)
        with open_snapshot(catalog, store, None, Vectors.fingerprints) as snapshot:
            some = Vectors().vectors_of(snapshot.gather("vectors", rng.integers(0, rows, 5)))
        # A sentence's vector lies near those of what it means, not on them.
        queries = some[:, 0] + 0.05 * rng.standard_normal((5, 128)).astype(np.float32)
        exact: np.ndarray | None = None
        for kind, limit in (("flat", rows), ("ivf", 1)):
            with open_snapshot(catalog, store, None, Vectors.fingerprints) as snapshot:
                manifest = settings.features_dir / "faiss"
                for old in manifest.glob("*"):
                    old.unlink()
                begun = time.process_time()
                index = Prefilter.open(settings, snapshot, Vectors(), flat_rows_max=limit)
                each: dict[str, Any] = {"build_and_open_s": time.perf_counter() - begun}
                begun = time.process_time()
                index = Prefilter.open(settings, snapshot, Vectors(), flat_rows_max=limit)
                each["open_s"] = time.process_time() - begun
                for k in (FIXED_K, rows // 100, rows // 10):
                    took = _seconds(lambda k=k, index=index: index.search(queries[0], k))
                    each[f"search_ms_k_{k}"] = 1e3 * took
                among = np.sort(rng.choice(rows, rows // 10, replace=False))
                took = _seconds(
                    lambda index=index, among=among: index.search(queries[0], FIXED_K, among)
                )
                each["search_ms_among_a_tenth"] = 1e3 * took
                best, _ = index.search(queries[1], rows // 100)
                if exact is None:
                    exact = best
                each["agrees_with_flat_at_1_percent"] = float(np.isin(best, exact).mean())
                found[kind] = each
    return found


def _seconds(work: Any) -> float:
    """CPU time of the second call: what it costs, whatever else the machine does."""
    work()
    begun = time.process_time()
    work()
    return time.process_time() - begun


def main(arguments: list[str] | None = None) -> int:
    """Print the figures; status 1 where a floor of recall is missed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--model", default="rela-mini")
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--a-kind", type=int, default=25)
    parser.add_argument("--split", default="test")
    parser.add_argument("--cache", type=Path, default=None, help="Folder of kept test sets.")
    parser.add_argument("--rows", type=int, default=100_000, help="For speed; 0 leaves it out.")
    parser.add_argument("--no-recall", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="referent-bench-") as place:
        if not options.no_recall:
            figures["recall"] = recalls(options, Path(place))
        if options.rows:
            figures["speed"] = speed(options.rows, Path(place))
    sys.stdout.write((json.dumps(figures, indent=2) if options.json else shown(figures)) + "\n")
    return 0 if options.no_recall or holds(figures["recall"]) else 1


def holds(figures: dict[str, Any]) -> bool:
    """Whether the issue's floors are held."""
    means = all(figures["mean"][f"{share:.0%}"] >= floor for share, floor in FLOORS.items())
    return means and all(rows["25%"] >= KIND_FLOOR for rows in figures["by_kind"].values())


def shown(figures: dict[str, Any]) -> str:
    """Return a table for people."""
    lines = []
    if "recall" in figures:
        each = figures["recall"]
        lines.append(
            f"{each['photos']:,} photos, {each['expressions']} expressions "
            f"({each['with_accepted']} with accepted photos, {each['accepted_an_expression']:.1f} "
            f"accepted each); index {each['kind']}"
        )
        names = list(each["mean"])
        lines.append("recall of accepted  " + "".join(f"{name:>8}" for name in names))
        for kind, row in [*each["by_kind"].items(), ("mean", each["mean"])]:
            lines.append(f"{kind:20}" + "".join(f"{row[name]:8.3f}" for name in names))
        lines.append("floors held" if holds(each) else "floors MISSED")
    if "speed" in figures:
        lines += [f"{name}: {value}" for name, value in figures["speed"].items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
