"""What a seed draws and says stays what it was, or its version is raised.

Photos and evaluation sets are kept under `scenes.DRAWING` and `testsets.SAYING`. Where a digest
below changes on purpose, raise the version and record what the failing test shows.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from training.data.shards import default_folder
from training.drawing.scenes import DRAWING, make_photo
from training.language import grammar
from training.language.grammar import ALBUM_KINDS, execute
from training.language.mutations import held_out
from training.measuring import testsets
from training.scene import SPLITS, Scene

# Fields of a scene that tell what is not known of a real photograph; drawings know everything.
OF_PHOTOGRAPHS = ("perhaps", "unsure", "boxed", "faint", "known")
SEEDS = (3, 2_000_017, 1_000_000_004)
RECORDED: dict[str, Any] = {
    "train": {
        "pixels": "9224b6e8",
        "masks": "29dc6755",
        "scenes": "e7381e0b",
        "expressions": "ee07289b",
    },
    "val": {
        "pixels": "40920dca",
        "masks": "62d685bf",
        "scenes": "b513d1e9",
        "expressions": "2d8d4e9e",
    },
    "test": {
        "pixels": "d5ce0aa1",
        "masks": "2aff5c21",
        "scenes": "d619e11c",
        "expressions": "095e5e48",
    },
    "test-b": {
        "pixels": "47941489",
        "masks": "c041240c",
        "scenes": "ac046714",
        "expressions": "0a8c6f57",
    },
    "sets": ["31d30927", "94a7ee21", "7b65a021"],
}


def _plain(value: Any) -> Any:
    """The value for JSON; numbers to 6 digits, for processors round a sine's last bit their way."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items() if k not in OF_PHOTOGRAPHS}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return round(float(value), 6) if isinstance(value, float | np.floating) else value


def _digest(content: Any) -> str:
    """8 hex digits of JSON or of arrays."""
    digest = hashlib.blake2b(digest_size=4)
    if isinstance(content, list) and content and isinstance(content[0], np.ndarray):
        for array in content:
            digest.update(repr((array.shape, array.dtype.str)).encode())
            digest.update(np.ascontiguousarray(array))
    else:
        digest.update(json.dumps(_plain(content), sort_keys=True, ensure_ascii=False).encode())
    return digest.hexdigest()


def _said(scenes: list[Scene], split: str) -> Iterable[Any]:
    """Expressions of every kind, their meaning on every scene; false ones, and absent things."""
    for index, scene in enumerate(scenes):
        rng = np.random.default_rng([index, SPLITS.index(split)])
        for kind in ALBUM_KINDS:
            for said in grammar.expressions(scene, rng, 2, (kind,)):
                truth = [execute(said.program, each) for each in scenes]
                ids = [None if found is None else sorted(found) for found in truth]
                yield said.text, said.kind, ids, held_out(said.program)
        yield [(said.text, said.kind) for said in grammar.no_target(scene, rng, 4)]
        yield [list(grammar.absent(rng, 3, known=known, held_out=True)) for known in (True, False)]


def _drawn(split: str) -> dict[str, str]:
    photos = [make_photo(seed, split, 120, 90) for seed in SEEDS]
    scenes = [scene for _, _, scene in photos]
    return {
        "pixels": _digest([image for image, _, _ in photos]),
        "masks": _digest([ids for _, ids, _ in photos]),
        "scenes": _digest([dataclasses.asdict(scene) for scene in scenes]),
        "expressions": _digest(list(_said(scenes, split))),
    }


@pytest.mark.parametrize("split", SPLITS)
def test_a_seed_draws_and_says_what_it_did_when_its_version_was_named(split: str) -> None:
    assert _drawn(split) == RECORDED[split], "raise scenes.DRAWING or testsets.SAYING"


def test_the_rows_of_an_evaluation_set_are_what_they_were(tmp_path) -> None:
    small = testsets.Sizes(4, 4, 12, 1, 8)
    pairs = testsets.pairs("val", small, folder=tmp_path)
    album = testsets.album("val", small, folder=tmp_path)
    absent = testsets.absent("val", small, folder=tmp_path)
    rows = [
        [(p.photo, p.expression, p.kind, p.targets, p.origin) for p in pairs.pairs],
        [album.expressions, album.kinds, album.held_out, album.truth.tolist()],
        [absent.expressions, absent.kinds],
    ]
    assert [_digest(each) for each in rows] == RECORDED["sets"], "raise testsets.SAYING"


def test_what_is_kept_bears_the_versions_in_its_name() -> None:
    assert (DRAWING, testsets.SAYING) == (1, 1)  # of the digests above
    assert testsets.version() == "1.1"
    assert default_folder("train", 320, 7).name == "train-320-7-1"
