from __future__ import annotations

import colorsys
from collections import Counter
from random import Random

import numpy as np
import pytest

from training.drawing.scenes import MIN_AREA, MIN_VISIBLE, aspect_of, make_photo, sample_photo
from training.drawing.style import sample_style, shade_of
from training.scene import (
    CATEGORIES,
    COLOURS,
    HELD_OUT,
    POSES,
    SMALL_PARTS,
    SPLITS,
    Instance,
    Scene,
)


def scenes(split: str, count: int, first: int = 0) -> list[Scene]:
    return [sample_photo(seed, split).scene for seed in range(first, first + count)]


@pytest.fixture(scope="module")
def many() -> list[Scene]:
    return scenes("train", 300)


def test_a_seed_gives_the_same_photo_again() -> None:
    first, ids, scene = make_photo(5, "train", 160, 120)
    sample_photo.cache_clear()
    second, ids_again, scene_again = make_photo(5, "train", 160, 120)
    assert (first == second).all() and (ids == ids_again).all() and scene == scene_again


@pytest.mark.parametrize("seed", range(6))
def test_the_scene_does_not_depend_on_size_or_aspect(seed: int) -> None:
    found = []
    for width, height in ((96, 96), (320, 180), (150, 400)):
        image, ids, scene = make_photo(seed, "val", width, height)
        assert image.shape == (height, width, 3) and image.dtype == np.uint8
        assert ids.shape == (height, width) and ids.dtype == np.uint8
        found.append(scene)
    assert found[0] == found[1] == found[2]


def test_boxes_centres_and_areas_agree_with_the_pixels_of_a_large_photo() -> None:
    off = []
    for seed in range(15):
        _, ids, scene = make_photo(seed, "test", 768, 768)
        assert set(np.unique(ids)) - {0} == {i.id for i in scene.instances}
        # Edge pixels count, so what is thin is a little larger at the measuring resolution.
        for instance in scene.instances:
            ys, xs = np.nonzero(ids == instance.id)
            assert len(ys) / ids.size == pytest.approx(instance.area, rel=0.2, abs=0.003)
            box = (xs.min() / 768, ys.min() / 768, (xs.max() + 1) / 768, (ys.max() + 1) / 768)
            off.append(max(abs(a - b) for a, b in zip(box, instance.box, strict=True)))
            assert (xs.mean() / 768, ys.mean() / 768) == pytest.approx(instance.centre, abs=0.01)
    # A sliver that shows between two others may be too thin for the measuring resolution.
    assert np.mean(np.array(off) < 0.012) > 0.95 and max(off) < 0.1


def test_splits_share_no_scene() -> None:
    for seed in range(10):
        layouts = {repr([i.box for i in sample_photo(seed, s).scene.instances]) for s in SPLITS}
        assert len(layouts) == len(SPLITS)


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match="no split"):
        make_photo(1, "dev", 64, 64)


def pairs(scene: Scene) -> set[tuple[str, str]]:
    return {(i.category, i.colour) for i in scene.instances}


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_held_out_pairs_are_never_drawn(split: str) -> None:
    assert not any(pairs(scene) & HELD_OUT for scene in scenes(split, 150, 900))


def test_every_scene_of_test_b_holds_a_held_out_pair_and_all_of_them_occur() -> None:
    seen: Counter[tuple[str, str]] = Counter()
    for scene in scenes("test-b", 250):
        assert pairs(scene) & HELD_OUT
        seen.update(pairs(scene) & HELD_OUT)
    assert set(seen) == HELD_OUT


def test_instances_are_few_large_and_visible(many: list[Scene]) -> None:
    for scene in many:
        assert 2 <= len(scene.instances) <= 9
        assert len({i.id for i in scene.instances}) == len(scene.instances)
        for instance in scene.instances:
            assert instance.id in range(1, 256)
            assert instance.area >= MIN_AREA and MIN_VISIBLE <= instance.visible <= 1
            x0, y0, x1, y1 = instance.box
            assert 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1
            assert instance.colour in COLOURS
            assert (instance.pose in POSES) == (instance.category in CATEGORIES[:4])
            assert 0 <= instance.depth <= 1.1


def test_every_category_pose_colour_and_count_occurs(many: list[Scene]) -> None:
    everyone = [i for scene in many for i in scene.instances]
    assert {i.category for i in everyone} == set(CATEGORIES)
    assert {i.pose for i in everyone} == {"", *POSES}
    assert {i.colour for i in everyone} == set(COLOURS)
    assert {len(scene.instances) for scene in many} == set(range(2, 10))


def test_relations_are_frequent_and_name_things_in_the_scene(many: list[Scene]) -> None:
    kinds: Counter[str] = Counter()
    related = 0
    for scene in many:
        by_id = {i.id: i for i in scene.instances}
        found = {
            kind
            for i in scene.instances
            for kind, others in (
                ("holds", i.holds), ("rides", (i.rides,)), ("sits_on", (i.sits_on,)),
                ("stands_on", (i.stands_on,)), ("owner", (i.owner,)),
            )
            if any(others)
        }  # fmt: skip
        kinds.update(found)
        related += bool(found)
        for i in scene.instances:
            for other in (*i.holds, i.rides, i.sits_on, i.stands_on, i.owner):
                assert other == 0 or (other in by_id and other != i.id)
            assert all(by_id[k].owner == i.id for k in i.holds)
    assert 0.35 <= related / len(many) <= 0.75
    assert set(kinds) == {"holds", "rides", "sits_on", "stands_on", "owner"}


def test_parts_that_something_hides_are_not_named(many: list[Scene]) -> None:
    people = [i for scene in many for i in scene.instances if i.pose]
    whole = [i for i in people if i.visible > 0.97]
    assert all("bottom" in i.parts for i in whole)
    assert any("bottom" not in i.parts for i in people)


def touch(a: Instance, b: Instance, slack: float = 0.02) -> bool:
    return (
        a.box[0] <= b.box[2] + slack and b.box[0] <= a.box[2] + slack
        and a.box[1] <= b.box[3] + slack and b.box[1] <= a.box[3] + slack
    )  # fmt: skip


def test_what_is_held_ridden_or_sat_on_touches_the_person(many: list[Scene]) -> None:
    for scene in many:
        by_id = {i.id: i for i in scene.instances}
        for i in scene.instances:
            others = [*i.holds, i.rides, i.sits_on, i.stands_on]
            for other in (by_id[k] for k in others if k):
                # A kite is held by its string.
                assert other.category == "kite" or touch(i, other), (scene.seed, i, other)


def test_half_of_the_scenes_repeat_a_category_or_a_colour(many: list[Scene]) -> None:
    repeated = sum(
        max(Counter(i.category for i in s.instances).values()) > 1
        or max(Counter(i.colour for i in s.instances).values()) > 1
        for s in many
    )
    assert repeated / len(many) > 0.5


def test_looks_differ_between_scenes() -> None:
    styles = [sample_photo(seed, "train").plan.style for seed in range(100)]
    assert {s.outline for s in styles} == {"none", "dark", "own", "rim"}
    assert {s.fill for s in styles} == {"flat", "ramp", "soft", "cel"}
    assert len({s.palette for s in styles}) == 4
    assert len({aspect_of(seed, "train") for seed in range(40)}) >= 6
    assert len({sample_photo(seed, "train").scene.setting for seed in range(60)}) >= 12


def name_of(colour: tuple[float, float, float]) -> str:
    """What a person would call a colour."""
    hue, saturation, value = colorsys.rgb_to_hsv(*(min(1.0, c / 255) for c in colour))
    hue *= 360
    if value < 0.24 and saturation < 0.42:
        return "black"
    if saturation < 0.17:
        return "white" if value > 0.62 else "grey" if value > 0.2 else "black"
    if 300 <= hue <= 352 and saturation < 0.66:
        return "pink"
    if hue < 42 and value < 0.52 and hue >= 8:
        return "brown"
    for low, high, name in (
        (-15, 13, "red"), (13, 42, "orange"), (42, 70, "yellow"), (70, 170, "green"),
        (190, 250, "blue"), (250, 300, "purple"), (345, 361, "red"),
    ):  # fmt: skip
        if low <= hue < high:
            return name
    return "none"


def test_named_colours_keep_their_name_in_every_palette_and_light() -> None:
    rng = Random(3)
    wrong: Counter[tuple[str, str]] = Counter()
    for _ in range(400):
        style = sample_style(rng)
        for name in COLOURS:
            shade = shade_of(name, style, rng)
            lit = [c * t * style.brightness for c, t in zip(shade, style.tint, strict=True)]
            seen = name_of((lit[0], lit[1], lit[2]))
            if seen != name:
                wrong[name, seen] += 1
    assert wrong.total() / (400 * len(COLOURS)) < 0.01, wrong


def test_spots_of_small_parts_lie_on_the_person_near_the_top(many: list[Scene]) -> None:
    heads = 0
    for scene in many:
        for person in (i for i in scene.instances if i.parts):
            assert set(person.spots) == {p for p in SMALL_PARTS if p in person.parts}
            x0, y0, x1, y1 = person.box
            for part, (x, y) in person.spots.items():
                assert x0 - 0.03 <= x <= x1 + 0.03 and y0 - 0.03 <= y <= y1 + 0.03, (part, person)
                if part != "bag" and person.visible > 0.95 and person.pose == "standing":
                    heads += 1
                    assert y < y0 + 0.4 * (y1 - y0)
    assert heads > 50
