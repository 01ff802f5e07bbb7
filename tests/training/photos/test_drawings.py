"""Drawn photos told as real ones: exact shares, and nothing claimed of kinds with two names."""

from pathlib import Path

import numpy as np

from training.data.shards import open_shards, render
from training.language.programs import execute
from training.photos.drawings import draw_album


def test_shares_are_the_ids_of_the_shards(tmp_path: Path) -> None:
    render(tmp_path, "train", 6, 96, first=5, workers=1)
    shards = open_shards(tmp_path, 6)
    album = draw_album(shards, 12)
    assert len(album) == 6
    for at, told in enumerate(album.told):
        ids = shards.photo(at)[1]
        assert told.scene.instances == shards.scenes[at].instances
        for thing in told.scene.instances:
            share = told.shares[thing.id - 1].astype(float) / 255
            assert abs(share.sum() * 16 - (ids == thing.id).sum()) < 1.0
            assert np.all((share > 0) >= (ids == thing.id).reshape(12, 4, 12, 4).all((1, 3)))


def test_a_drawn_table_is_not_denied_by_its_other_name(tmp_path: Path) -> None:
    render(tmp_path, "train", 1, 96, first=5, workers=1)
    (told,) = draw_album(open_shards(tmp_path, 1), 12).told
    assert execute(("bare", ("d", ("dining table",), ())), told.scene) is None
    assert execute(("bare", ("d", ("zebra",), ())), told.scene) == frozenset()
    kind = told.scene.instances[0].category
    assert execute(("all", ("d", (kind,), ())), told.scene)
