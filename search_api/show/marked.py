"""What people marked in an album, as pairs that a network can be trained on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import numpy as np

from search_api.errors import NotIndexed
from search_api.search import runs
from search_api.search.corrections import album_marks, latest_run
from search_api.search.decisions import Decision
from search_api.search.engine import Engine
from search_api.search.photos import by_id
from search_api.show.exports import Exported
from search_api.show.shown import render


def training_pairs(engine: Engine, album_id: int) -> Iterator[tuple[str, Exported]]:
    """Right matches with their masks, and wrong ones as no-target, for `exports.grefcoco`.

    A wrong mask and a missed photo hold a thing whose true mask nobody drew: they are left out, as
    is a right match whose search run is gone from the history, and its mask with it.
    """
    for each in album_marks(engine.catalog, album_id):
        photo = by_id(engine.catalog, [each.photo_id]).get(each.photo_id)
        if photo is None or each.verdict not in ("right", "wrong"):
            continue
        if each.verdict == "wrong":
            nothing = np.zeros(0, np.float32)
            rejected = Decision(photo.id, 0.0, False, 0.0, nothing, nothing)
            yield each.expression, Exported(0, photo, rejected, None)
        elif run_id := latest_run(engine.catalog, each):
            run, hit = runs.one_hit(engine.catalog, run_id, each.photo_id)
            with suppress(NotIndexed):
                mask = render(engine, photo, hit.decision, run.fingerprints)
                yield each.expression, Exported(hit.rank, photo, hit.decision, mask)
