from pathlib import Path

import numpy as np
import pytest

from tests.support.photo_pack import content, write_pack
from training.errors import DatasetError
from training.language import grammar
from training.language.grammar import execute
from training.photos.pack import read_pack
from training.photos.scenes import Album, read_album
from training.scene import PERSONS

DOG = ("d", ("dog",), ())
RED = ("colour", "red")


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Album:
    folder = tmp_path_factory.mktemp("pack")
    return read_album(read_pack(write_pack(folder / "own")), folder / "cache", 16)


def test_what_the_scene_says_is_what_the_photo_shows(album: Album) -> None:
    scene = album.told[0].scene
    colours = {t.id: t.colour for t in scene.instances}
    (red,) = (i for i, colour in colours.items() if colour == "red")
    assert sorted(colours.values()) == ["blue", "red"]
    assert execute(("all", ("d", ("dog",), (RED,))), scene) == {red}
    assert execute(("count", 2, DOG), scene) == set(colours)
    assert execute(("bare", ("d", PERSONS, ())), scene) == frozenset()
    assert execute(("except", DOG, ("the", ("d", ("dog",), (RED,)))), scene) == (
        set(colours) - {red}
    )


def test_of_a_box_alone_the_colour_is_not_said(album: Album) -> None:
    scene = album.told[1].scene
    assert execute(("bare", DOG), scene)
    assert execute(("bare", ("d", ("dog",), (RED,))), scene) is None
    assert execute(("bare", ("d", ("dog",), (("at", "right"),))), scene) == frozenset()


def test_a_crowd_is_not_counted(album: Album) -> None:
    assert execute(("count", 1, ("d", PERSONS, ())), album.told[2].scene) is None


def test_a_kind_that_nobody_looked_for_is_not_called_absent(tmp_path: Path) -> None:
    told = read_album(
        read_pack(write_pack(tmp_path / "own", content(None))), tmp_path / "cache", 16
    ).told
    assert execute(("bare", ("d", ("cat",), ())), told[0].scene) is None
    assert execute(("bare", DOG), told[3].scene) is None


def test_stuff_has_a_mask_and_no_place_among_things(album: Album) -> None:
    told = album.told[3]
    assert [t.category for t in told.scene.instances] == ["dining table"]
    (row,) = told.stuff["sky"]
    assert told.shares[row].astype(float).mean() / 255 == pytest.approx(20 / 64, abs=0.02)


def test_a_second_reading_of_the_same_pack_is_the_same(album: Album, tmp_path: Path) -> None:
    pack = write_pack(tmp_path / "own")
    first = read_album(read_pack(pack), tmp_path / "cache", 16)
    again = read_album(read_pack(pack), tmp_path / "cache", 16)
    for a, b, c in zip(first.told, again.told, album.told, strict=True):
        assert a.scene == b.scene == c.scene
        assert np.array_equal(a.shares, b.shares)


def test_expressions_about_photographs_are_true_of_them_and_false_ones_are_not(
    album: Album,
) -> None:
    rng = np.random.default_rng(1)
    true = false = 0
    for told in album.told:
        for expression in grammar.expressions(told.scene, rng, 12):
            assert execute(expression.program, told.scene), expression
            true += 1
        for expression in grammar.no_target(told.scene, rng, 6):
            assert execute(expression.program, told.scene) == frozenset(), expression
            false += 1
    assert true > 40
    assert false > 10


def test_a_photo_of_another_size_than_its_entry_is_named(tmp_path: Path) -> None:
    rows = content()
    rows["images"][0]["width"] = 99
    with pytest.raises(DatasetError, match=r"1\.jpg has 96 x 64 pixels, its entry says 99 x 64"):
        read_album(read_pack(write_pack(tmp_path / "own", rows)), tmp_path / "cache", 16)
