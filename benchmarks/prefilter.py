"""How much of what the head accepts the prefilter finds, scored flat and through FAISS's lists.

Run: python -m benchmarks.prefilter [--photos 2000] [--a-kind 25] [--split test] [--plain]
    [--copies 100000]

A synthetic album goes through the real index; the head judges every photo for every expression, and
what it accepts is the truth. Recall is |top K and accepted| / min(K, |accepted|), by kind of
expression; the exit status is 1 where a floor is missed.

With --copies, the vectors and noise make a large album as well, which is searched flat and through
inverted lists, by inner products alone: copies of accepted photos count as accepted. CPU times are
of one search.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import insert

from indexer.db.catalog import Catalog
from indexer.db.owner import new_owner
from indexer.db.tables import Album, Photo, Root
from indexer.encoding.alone import index_album
from indexer.features.prefilter import Prefilter
from indexer.features.snapshot import open_snapshot
from indexer.features.store import FeatureStore, Part
from indexer.folders.albums import ensure_album
from indexer.settings import Settings
from model.build import load_predictor
from training.measuring import testsets

SHARES = (0.01, 0.02, 0.05, 0.10, 0.25)
FIXED_K = 200
# The floors: share of the album → mean recall, and the least of any kind at 25 %.
FLOORS = {0.10: 0.97, 0.25: 0.99}
KIND_FLOOR = 0.93
BLOCK = 20_000
# Added to every coordinate of a copy's unit vectors; turns them by some 13 degrees.
NOISE = 0.02
# Expressions that the large album is searched with, spread over all kinds.
ASKED = 40


@dataclass(frozen=True)
class Judged:
    """N photos judged for E expressions."""

    kinds: Sequence[str]
    sentences: np.ndarray
    """(E, D) float32."""
    found: dict[int, list[np.ndarray]]
    """By K: what a search for K photos finds (K,), an expression's each."""
    accepted: np.ndarray
    """(E, N) bool, the head's."""
    vectors: np.ndarray
    """(N, V, D) float16."""


def judge(options: argparse.Namespace, place: Path) -> Judged:
    """Index the album and judge it whole."""
    sizes = testsets.Sizes(album_photos=options.photos, expressions_a_kind=options.a_kind)
    data = testsets.album(options.split, sizes, folder=options.cache)
    predictor = load_predictor(options.model, head_dtype="auto")
    settings = Settings(home=place / "home")
    pictures = data.photos.folder  # type: ignore[attr-defined]
    with Catalog.open(settings) as catalog:
        with catalog.session() as session:
            ensure_album(session, [pictures], name="bench", exclude=["ids-*"])
        index_album(settings, "bench", predictor, catalog=catalog)
        store = FeatureStore.open(settings, catalog)
        with open_snapshot(catalog, store, None, predictor.fingerprints) as snapshot:
            everything = np.arange(len(snapshot))
            prefilter = Prefilter.open(settings, snapshot, predictor)
            assert prefilter.kind == "flat"
            tokens = snapshot.gather("tokens", everything)
            sentences, accepted = [], []
            ks = depths(len(snapshot)).values()
            found: dict[int, list[np.ndarray]] = {k: [] for k in ks}
            reranked = predictor.reranks and not options.plain
            for text in data.expressions:
                words = predictor.read([text])
                confidence = predictor.confidence(predictor.judge(tokens, words))
                accepted.append(confidence >= predictor.calibration.threshold)
                sentences.append(words.sentence[0])
                rerank = partial(predictor.rerank, words=words) if reranked else None
                for k, rows in found.items():  # how many are ranked again follows K
                    rows.append(prefilter.search(words.sentence[0], k, None, rerank)[0])
            vectors = predictor.vectors_of(snapshot.gather("vectors", everything))
    return Judged(
        data.kinds,
        np.stack(sentences),
        found,
        np.stack(accepted),
        vectors.astype(np.float16),
    )


def depths(photos: int) -> dict[str, int]:
    """Return the K that are looked at, by name."""
    shares = {f"{share:.0%}": max(1, round(share * photos)) for share in SHARES}
    return shares | {f"K={FIXED_K}": min(FIXED_K, photos)}


def recall(found: np.ndarray, accepted: np.ndarray) -> float | None:
    """Return |found and accepted| / min(|found|, |accepted|); None where nothing is accepted."""
    total = int(accepted.sum())
    return float(accepted[found].sum()) / min(len(found), total) if total else None


def recalls(
    kinds: Sequence[str], accepted: np.ndarray, best: Callable[[int, int], np.ndarray]
) -> dict[str, Any]:
    """Average the recall at every K, over all expressions and by kind.

    Args:
        accepted: (E, N) bool.
        best: (expression's number, K) → the photos that the prefilter ranks first.
    """
    ks = depths(accepted.shape[1])
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for number, kind in enumerate(kinds):
        for name, k in ks.items():
            value = recall(best(number, k), accepted[number])
            if value is not None:
                found[kind][name].append(value)
    return {
        "mean": {
            name: float(np.mean([value for rows in found.values() for value in rows[name]]))
            for name in ks
        },
        "by_kind": {
            kind: {name: float(np.mean(values)) for name, values in rows.items()}
            for kind, rows in sorted(found.items())
        },
    }


def small(judged: Judged) -> dict[str, Any]:
    """Recall on the album as it is."""
    some = judged.accepted.any(axis=1)
    return {
        "photos": judged.accepted.shape[1],
        "expressions": len(judged.kinds),
        "with_accepted": int(some.sum()),
        "accepted_an_expression": float(judged.accepted.sum(axis=1).mean()),
        **recalls(judged.kinds, judged.accepted, _looked_up(judged.found)),
    }


class Copies:
    """A predictor as far as the prefilter needs one, and photos that only have vectors."""

    fingerprints = {"vectors": "v" * 16, "tokens": "t" * 16}

    def __init__(self, originals: np.ndarray) -> None:
        self.originals = originals
        shape = originals.shape[1:]
        self.dtypes = {
            "vectors": np.dtype([("vectors", "<f2", shape)]),
            "tokens": np.dtype([("nothing", "u1")]),
        }

    def vectors_of(self, records: np.ndarray) -> np.ndarray:
        """Return (B, V, D) float32."""
        return records["vectors"].astype(np.float32)

    def fill(self, catalog: Catalog, store: FeatureStore, rows: int) -> None:
        """Make an album of noisy copies, photo i of original i modulo their number."""
        rng = np.random.default_rng(0)
        with catalog.session() as session:
            album = Album(name="copies", settings={})
            session.add(album)
            session.flush()
            root = Root(album_id=album.id, path=b"/copies", mounts=[])
            session.add(root)
            session.flush()
            place = {"album_id": album.id, "root_id": root.id, "status": "indexed"}
        place |= {"size": 1, "mtime_ns": 1, "inode": 1, "width": 1, "height": 1}
        for start in range(0, rows, BLOCK):
            chosen = np.arange(start, min(rows, start + BLOCK))
            digests = [f"{number:040x}" for number in chosen]
            values = self.originals[chosen % len(self.originals)].astype(np.float32)
            values += NOISE * rng.standard_normal(values.shape, np.float32)
            vectors = np.zeros(len(chosen), self.dtypes["vectors"])
            vectors["vectors"] = values / np.linalg.norm(values, axis=-1, keepdims=True)
            tokens = np.zeros(len(chosen), self.dtypes["tokens"])
            store.commit(
                [
                    Part("vectors", self.fingerprints["vectors"], vectors.dtype, digests, vectors),
                    Part("tokens", self.fingerprints["tokens"], tokens.dtype, digests, tokens),
                ],
                new_owner(),
            )
            photos = [
                place | {"path": digest.encode(), "content_hash": digest} for digest in digests
            ]
            with catalog.session() as session:
                session.execute(insert(Photo), photos)


def large(judged: Judged, rows: int, place: Path) -> dict[str, Any]:
    """Recall on noisy copies, flat and through lists, and how far the two agree."""
    settings = Settings(home=place / "copies")
    copies = Copies(judged.vectors)
    asked = np.linspace(0, len(judged.kinds) - 1, min(ASKED, len(judged.kinds))).astype(int)
    kinds = [judged.kinds[number] for number in asked]
    accepted = judged.accepted[asked][:, np.arange(rows) % judged.accepted.shape[1]]
    figures: dict[str, Any] = {"photos": rows, "expressions": len(kinds)}
    found: dict[str, dict[int, list[np.ndarray]]] = {}
    with Catalog.open(settings) as catalog:
        store = FeatureStore.open(settings, catalog)
        copies.fill(catalog, store, rows)
        for kind, flat_rows_max in (("flat", rows), ("lists", 0)):
            for old in (settings.features_dir / "faiss").glob("*"):
                old.unlink()
            with open_snapshot(catalog, store, None, copies.fingerprints) as snapshot:
                begun = time.process_time()
                index = Prefilter.open(settings, snapshot, copies, flat_rows_max=flat_rows_max)
                assert (index.kind == "flat") == (kind == "flat")
                times = {"build": time.process_time() - begun}
                found[kind] = {}
                for name, k in depths(rows).items():
                    begun = time.process_time()
                    found[kind][k] = [index.search(judged.sentences[at], k)[0] for at in asked]
                    times[name] = (time.process_time() - begun) / len(asked)
            figures[kind] = {"cpu_s": times, **recalls(kinds, accepted, _looked_up(found[kind]))}
    figures["agreement"] = {
        name: _agreement(found["flat"][k], found["lists"][k]) for name, k in depths(rows).items()
    }
    return figures


def _looked_up(found: dict[int, list[np.ndarray]]) -> Callable[[int, int], np.ndarray]:
    return lambda number, k: found[k][number]


def _agreement(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> float:
    """Return the mean share of one's photos that the other found too."""
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(one, other, strict=True)]))


def main(arguments: list[str] | None = None) -> int:
    """Print the figures; status 1 where a floor of recall is missed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--model", default="rela-mini")
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--a-kind", type=int, default=25)
    parser.add_argument("--split", default="test")
    parser.add_argument("--cache", type=Path, default=None, help="Folder of kept test sets.")
    parser.add_argument("--plain", action="store_true", help="Inner products only.")
    parser.add_argument("--copies", type=int, default=0, help="Of a large album, for the lists.")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="referent-bench-") as place:
        judged = judge(options, Path(place))
        figures = {"album": small(judged)}
        if options.copies:
            figures["copies"] = large(judged, options.copies, Path(place))
    sys.stdout.write((json.dumps(figures, indent=2) if options.json else shown(figures)) + "\n")
    return 0 if holds(figures["album"]) else 1


def holds(figures: dict[str, Any]) -> bool:
    """Whether the floors are held."""
    means = all(figures["mean"][f"{share:.0%}"] >= floor for share, floor in FLOORS.items())
    return means and all(rows["25%"] >= KIND_FLOOR for rows in figures["by_kind"].values())


def shown(figures: dict[str, Any]) -> str:
    """Return tables for people."""
    album = figures["album"]
    lines = [
        f"{album['photos']:,} photos, {album['expressions']} expressions "
        f"({album['with_accepted']} with accepted photos, {album['accepted_an_expression']:.1f} "
        "accepted each)",
        *_table(album),
        "floors held" if holds(album) else "floors MISSED",
    ]
    if "copies" in figures:
        copies = figures["copies"]
        lines.append(f"{copies['photos']:,} noisy copies, {copies['expressions']} expressions")
        for kind in ("flat", "lists"):
            lines += [
                *_table(copies[kind], by_kind=False),
                _row(f"{kind}, CPU s", copies[kind]["cpu_s"]),
                f"{kind}: built in {copies[kind]['cpu_s']['build']:.0f} CPU s",
            ]
        lines.append(_row("both found", copies["agreement"]))
    return "\n".join(lines)


def _table(figures: dict[str, Any], *, by_kind: bool = True) -> list[str]:
    kinds = figures["by_kind"].items() if by_kind else ()
    return [
        f"{'recall of accepted':20}" + "".join(f"{name:>8}" for name in figures["mean"]),
        *(_row(kind, row) for kind, row in kinds),
        _row("mean", figures["mean"]),
    ]


def _row(name: str, values: dict[str, float]) -> str:
    shown = [value for key, value in values.items() if key != "build"]
    return f"{name:20}" + "".join(f"{value:8.3f}" for value in shown)


if __name__ == "__main__":
    sys.exit(main())
