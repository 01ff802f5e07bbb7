"""More like this: photos whose region vectors are near to those of a photo or matched region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from search_api.errors import NotFound, NotIndexed
from search_api.search import booleans, runs
from search_api.search.engine import Engine, View
from search_api.search.filters import Filters
from search_api.search.photos import PhotoInfo, by_id, one_photo

# How many photos each region vector brings in before they are compared as a whole.
CANDIDATES = 400
# Two encodings of one picture (resized, recompressed) stay above this mean cosine.
DUPLICATE_FROM = 0.985


@dataclass(frozen=True)
class Similar:
    """A photo that resembles another; ``similarity`` is a cosine."""

    photo: PhotoInfo
    similarity: float
    same_file: bool


def similar(
    engine: Engine,
    *,
    photo_id: int,
    run_id: str | None = None,
    album: str | None = None,
    among: frozenset[int] | None = None,
    filters: Filters | None = None,
    duplicates: bool = False,
    size: int = 24,
) -> list[Similar]:
    """Rank photos by how much they resemble one.

    Args:
        run_id: a run that judged the photo; then the one region vector that answers its
            expression best is compared, not all of them.
        among: only photos of these albums; None means of any.
        duplicates: only equal files and near-identical pictures.
    Raises:
        UnknownPhoto, UnknownRun, UnknownAlbum.
        NotIndexed: the photo has no features.
    """
    try:
        return _ranked(
            engine,
            photo_id,
            run_id,
            engine.views(album, among),
            filters or Filters(),
            duplicates=duplicates,
            size=size,
        )
    except NotFound as error:  # here the photo and the run are fields of the request
        error.field = {"photo_id": "photo", "run_id": "run"}.get(error.field or "", error.field)
        raise


def _ranked(
    engine: Engine,
    photo_id: int,
    run_id: str | None,
    views: Sequence[View],
    filters: Filters,
    *,
    duplicates: bool,
    size: int,
) -> list[Similar]:
    photo = one_photo(engine.catalog, photo_id)
    home = engine.view(photo.album_id)
    row = home.rows_of(np.array([photo_id])) if home is not None else np.empty(0, np.int64)
    if home is None or not len(row):
        raise NotIndexed(f"Photo {photo_id} has no features; index its album.", field="photo")
    wanted = _unit(home, home.snapshot.gather("vectors", row))[0]  # (V, D)
    if run_id is not None:
        run, _ = runs.one_hit(engine.catalog, run_id, photo_id)
        things = booleans.things_of(run.expression) or (run.expression,)
        sentences = [engine.models.words(home.predictor, each).sentence[0] for each in things]
        wanted = wanted[sorted({int(np.argmax(wanted @ each)) for each in sentences})]  # (n, D)
    scored: list[tuple[float, int]] = []
    for view in views:
        if view.predictor.fingerprints["vectors"] != home.predictor.fingerprints["vectors"]:
            continue  # another space: its numbers mean nothing here
        scored += _scores(engine, view, wanted, filters)
    scored = [(score, each) for score, each in scored if each != photo_id]
    scored.sort(key=lambda pair: (-pair[0], pair[1]))
    photos = by_id(engine.catalog, (each for _, each in scored[: size * 4]))
    found = []
    for score, each in scored[: size * 4]:
        other = photos.get(each)
        if other is None:
            continue
        same = photo.content_hash is not None and other.content_hash == photo.content_hash
        if duplicates and not same and score < DUPLICATE_FROM:
            continue
        found.append(Similar(other, round(score, 4), same))
    return found[:size]


def _scores(
    engine: Engine, view: View, wanted: np.ndarray, filters: Filters
) -> list[tuple[float, int]]:
    """(similarity, photo id) of the nearest photos of one album.

    Each wanted vector (n, D) is matched with the most similar one of a photo; the mean over the
    wanted ones is the photo's similarity.
    """
    among = engine.subset(view, filters)
    count = len(view.snapshot.photo_ids) if among is None else len(among)
    if count == 0:
        return []
    if count <= CANDIDATES:
        near = np.arange(count) if among is None else among
    else:
        k = max(32, CANDIDATES // len(wanted))
        near = np.unique(
            np.concatenate([view.prefilter.search(vector, k, among)[0] for vector in wanted])
        )
    records, near = view.snapshot.gather_readable("vectors", near)
    if not len(near):
        return []
    vectors = _unit(view, records)  # (N, V, D)
    cosines = np.einsum("qd,nvd->nqv", wanted, vectors)  # (n, D) x (N, V, D) -> (N, n, V)
    similarity = cosines.max(axis=2).mean(axis=1)
    ids = view.snapshot.photo_ids[near]
    return [(float(s), int(i)) for s, i in zip(similarity, ids, strict=True)]


def _unit(view: View, records: np.ndarray) -> np.ndarray:
    """Unit region vectors (N, V, D) of records (N,)."""
    vectors = view.predictor.vectors_of(records)
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(norms, 1e-12)
