"""Training on folders in gRefCOCO's form, and the head alone on dumped tokens."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

from model import checkpoint, grefcoco_form
from model.errors import ModelError, WeightsError
from model.grefcoco_form import Reference
from model.network.rela import RelaNetwork
from model.text import TextEncoder
from referent.train import train
from tests.support.tiny_model import TINY, write_tiny_model
from training.data import grefcoco
from training.data.album import AlbumPlan, write_album
from training.data.dump import DumpError
from training.data.grefcoco import Dataset
from training.data.grefcoco_batches import GrefSampler, mirrored
from training.data.shards import render
from training.data.sources import source_of
from training.data.token_dump import DumpedSource, dump_tokens, open_dump
from training.data.truth_guard import TruthGuard
from training.errors import DatasetError
from training.learning.session import RECIPES, run_recipe
from training.recipes.recipe import Recipe

RECIPE = replace(
    RECIPES["base"], model=TINY, batch=4, steps=2, warmup=1, bf16=False, start="", jitter=0.0
)


@pytest.fixture(scope="module")
def text() -> TextEncoder:
    return TextEncoder("minilm")


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("album")
    list(write_album(AlbumPlan(6, seed=2, split="train", width=96, height=72), folder))
    return folder


def _square(number: int, image: int, category: int, x: int) -> dict[str, object]:
    corners = [x, 8, x + 16, 8, x + 16, 24, x, 24]
    return {
        "id": number, "image_id": image, "category_id": category, "iscrowd": 0, "area": 256,
        "segmentation": [corners], "bbox": [x, 8, 16, 16],
    }  # fmt: skip


# Image -> (category, left edge in pixels) of what is in it; image -> what is said of it.
SHOWN = {1: [("person", 0), ("dog", 40)], 2: [("cat", 8)], 3: [("toy", 8)], 4: [("person", 8)]}
SAID: dict[int, list[tuple[str, list[int]]]] = {
    1: [("man on the left", [0]), ("the brown dog", [1]), ("right one", [1]), ("pink horse", [])],
    2: [("the cat", [0]), ("left one", [0])],
    3: [("a small toy car on the floor", [0])],
    4: [("guy number 12 on left", [0])],
}
MORE = [("a small car on the floor", "car"), ("the blue car", "car")]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Four photos of squares, and a fifth with two cars."""
    folder = tmp_path_factory.mktemp("squares")
    names = ["person", "dog", "cat", "toy", "car"]
    shown = {**SHOWN, 5: [(c, 8) for _, c in MORE]}
    said = {**SAID, 5: [(t, [k]) for k, (t, _) in enumerate(MORE)]}
    annotations: list[dict[str, object]] = []
    references = []
    for image, things in shown.items():
        first = len(annotations)
        for category, x in things:
            annotations.append(_square(len(annotations) + 1, image, names.index(category) + 1, x))
        Image.new("RGB", (64, 32), (image * 20, 90, 60)).save(folder / f"{image}.png")
        for words, which in said[image]:
            references.append(
                Reference(
                    len(references),
                    image,
                    f"{image}.png",
                    "train",
                    tuple(first + k + 1 for k in which),
                    tuple(1 for _ in which),
                    ((words, ""),),
                )
            )
    images = [{"id": k, "file_name": f"{k}.png", "width": 64, "height": 32} for k in shown]
    categories = [{"id": k + 1, "name": name} for k, name in enumerate(names)]
    grefcoco_form.write(folder, references, images, annotations, categories)
    return grefcoco.read(folder, "train")


def _sampler(dataset: Dataset, text: TextEncoder, recipe: Recipe = RECIPE) -> GrefSampler:
    sampler = source_of(dataset, recipe, TINY, text, 0, 1)
    assert isinstance(sampler, GrefSampler)
    return sampler


def test_expressions_of_other_photos_are_asked_only_where_surely_false(
    photographs: Dataset, text: TextEncoder
) -> None:
    sampler = _sampler(photographs, text, replace(RECIPE, batch=5, crossed=20, flip=False))
    asked: dict[int, set[str]] = {k: set() for k in range(5)}
    for step in range(3):
        batch = sampler.batch(step)
        for m, photo in enumerate(batch.photo.tolist()):
            if batch.kinds[m] == "other photo":
                assert batch.no_target[m] == 1 and batch.masks[m].sum() == 0
                asked[int(batch.origin[photo])].add(batch.texts[int(batch.text[m])])
    cars = {"a small car on the floor", "the blue car"}
    # Nobody is asked for "left one" or "right one", which may fit anything, nor for another
    # photo's no-target expression; men are not asked for where any person is.
    assert asked[0] == {"the cat", "a small toy car on the floor", *cars}
    assert asked[1] == {
        "man on the left", "the brown dog", "guy number 12 on left",
        "a small toy car on the floor", *cars,
    }  # fmt: skip
    # A toy car is no car to COCO, but says nearly the same: left out by similarity.
    assert "a small car on the floor" not in asked[2]
    assert {"the cat", "the brown dog"} <= asked[2]
    assert asked[3] == {"the cat", "the brown dog", "a small toy car on the floor", *cars}
    assert not asked[4] & (cars | {"a small toy car on the floor"})


def test_guard_knows_what_people_call_things(photographs: Dataset, text: TextEncoder) -> None:
    guard = TruthGuard(photographs, lambda texts: np.ones((len(texts), 2), np.float32), 0.5)
    assert {"person"} <= guard.named("the kids' umbrella")
    assert guard.named("puppies on a sofa") == {"dog"}
    assert guard.named("the SUV behind") == {"car"}
    assert guard.named("left one") == frozenset()


def test_masks_and_words_of_a_mirrored_photo_are_mirrored(
    photographs: Dataset, text: TextEncoder
) -> None:
    recipe = replace(RECIPE, batch=5, crossed=0)
    straight = _sampler(photographs, text, replace(recipe, flip=False))
    mixed = _sampler(photographs, text, recipe)
    flipped = 0
    for step in range(4):
        before, after = straight.batch(step), mixed.batch(step)
        for m, photo in enumerate(after.photo.tolist()):
            said, heard = before.texts[int(before.text[m])], after.texts[int(after.text[m])]
            if after.flipped[photo]:
                flipped += 1
                assert heard == mirrored(said)
                assert torch.equal(after.masks[m], before.masks[m].flip(-1))
                assert torch.equal(after.pixels[photo], before.pixels[photo].flip(-1))
                assert "12" not in said  # a mirrored 12 is no 12
            else:
                assert heard == said and torch.equal(after.masks[m], before.masks[m])
    assert flipped > 5
    assert mirrored("2nd lft, LEFT of the r one") == "2nd rt, RIGHT of the l one"


def test_masks_are_the_referents_share_of_each_cell(
    photographs: Dataset, text: TextEncoder
) -> None:
    batch = _sampler(photographs, text, replace(RECIPE, batch=5, flip=False)).batch(0)
    wanted = torch.zeros(16, 16)
    wanted[4:12, 0:4] = 1.0  # x 0 to 16 of 64, y 8 to 24 of 32
    m = next(k for k, t in enumerate(batch.text.tolist()) if batch.texts[t] == "man on the left")
    assert torch.allclose(batch.masks[m], wanted)
    horse = [k for k, t in enumerate(batch.text.tolist()) if batch.texts[t] == "pink horse"]
    assert all(batch.no_target[k] == 1 and batch.masks[k].sum() == 0 for k in horse)


def test_two_processes_share_a_batch_of_photographs(
    photographs: Dataset, text: TextEncoder
) -> None:
    recipe = replace(RECIPE, batch=5)
    whole = _sampler(photographs, text, recipe).batch(1)
    halves = [source_of(photographs, recipe, TINY, text, rank, 2).batch(1) for rank in range(2)]
    assert torch.equal(whole.pixels, torch.cat([h.pixels for h in halves]))
    assert torch.equal(whole.masks, torch.cat([h.masks for h in halves]))


def test_losses_that_need_a_scene_graph_are_refused(
    photographs: Dataset, text: TextEncoder
) -> None:
    with pytest.raises(ModelError, match="'regions' needs scene graphs"):
        _sampler(photographs, text, replace(RECIPE, losses=RECIPES["mini"].losses))


def test_base_recipe_trains_from_the_command_line(album: Path, tmp_path: Path) -> None:
    configuration = tmp_path / "tiny.json"
    configuration.write_text(json.dumps(TINY.to_dict()))
    out = tmp_path / "run"
    app = typer.Typer()
    app.command()(train)
    command = ["base", "--data", str(album), "--out", str(out), "--batch", "4",
               "--model", str(configuration), "--steps", "2", "--start", "random"]  # fmt: skip
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    weights = out / "rela-atom.safetensors"
    assert str(weights) in result.output.replace("\n", "")
    assert checkpoint.header(weights)["steps"] == "2"


def test_base_recipe_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="--data"):
        run_recipe(RECIPE, tmp_path)
    with pytest.raises(DatasetError, match=r"grefs\(unc\)\.json"):
        run_recipe(RECIPE, tmp_path, data=tmp_path)


def test_base_recipe_starts_from_swin_weights(album: Path, tmp_path: Path) -> None:
    config = replace(TINY, swin=replace(TINY.swin, dense=True))
    given = RelaNetwork(config).backbone.swin.state_dict()
    torch.save({n: v for n, v in given.items() if "norms." not in n}, tmp_path / "swin.pth")
    recipe = replace(RECIPE, model=config, learning_rate=0.0, weight_decay=0.0, steps=1)
    path = run_recipe(recipe, tmp_path / "run", data=album, start=tmp_path / "swin.pth")
    kept = checkpoint.load(path).backbone.swin.state_dict()
    assert torch.allclose(
        kept["patch_embed.proj.weight"], given["patch_embed.proj.weight"], atol=1e-3
    )
    with pytest.raises(WeightsError, match="--start random"):
        run_recipe(recipe, tmp_path / "other", data=album, start=tmp_path / "none.pth")


def test_head_learns_alone_from_tokens_dumped_once(tmp_path: Path) -> None:
    render(tmp_path / "shards", "train", 8, 64, 1, workers=1)
    start = Path(write_tiny_model(tmp_path / "start.safetensors"))
    recipe = replace(RECIPES["mini-head"], model=TINY, photos=8, steps=2, batch=4, warmup=1)
    out = tmp_path / "run"
    path = run_recipe(recipe, out, data=tmp_path / "shards", start=start)
    before, after = checkpoint.load(start).state_dict(), checkpoint.load(path).state_dict()
    changed = {n for n, v in before.items() if not torch.equal(v, after[n])}
    assert any(n.startswith("head.") for n in changed)
    assert not any(n.startswith(("backbone.", "pixel_decoder.", "ria.")) for n in changed)

    # A resumed run goes on with the same dump.
    made = (out / "tokens" / "dump.json").stat().st_mtime_ns
    run_recipe(replace(recipe, steps=3), out, data=tmp_path / "shards", new_leg=True)
    assert (out / "tokens" / "dump.json").stat().st_mtime_ns == made
    assert checkpoint.header(path)["steps"] == "3"
    with pytest.raises(WeightsError, match="--start"):
        run_recipe(recipe, tmp_path / "none", data=tmp_path / "shards")


def test_dumped_tokens_are_those_of_a_vision_pass(
    photographs: Dataset, text: TextEncoder, tmp_path: Path
) -> None:
    network = checkpoint.load(Path(write_tiny_model(tmp_path / "a.safetensors"))).eval()
    recipe = replace(RECIPE, batch=5)
    source = _sampler(photographs, text, recipe)
    path = tmp_path / "tokens"
    assert dump_tokens(network, source, path, flips=True)
    dumped = DumpedSource(_sampler(photographs, text, recipe), open_dump(path, network, 5))
    wanted, given = source.batch(1), dumped.batch(1)
    assert given.texts == wanted.texts and torch.equal(given.masks, wanted.masks)
    assert given.pixels.numel() == 0 and wanted.flipped.any()
    with torch.inference_mode():
        encoded = network.decode(network.pyramid(wanted.pixels))
    assert given.regions is not None and given.features is not None
    assert torch.allclose(given.regions, encoded.regions, atol=1e-2)
    assert torch.allclose(given.features, encoded.mask_features, atol=1e-2)


def test_a_dump_goes_on_where_it_stopped_and_knows_its_weights(
    photographs: Dataset, text: TextEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.data.token_dump.PHOTO_BATCH", 2)
    network = checkpoint.load(Path(write_tiny_model(tmp_path / "a.safetensors")))
    other = checkpoint.load(Path(write_tiny_model(tmp_path / "b.safetensors", seed=2)))
    source = _sampler(photographs, text)
    path, whole = tmp_path / "tokens", tmp_path / "whole"
    assert not dump_tokens(network, source, path, should_stop=lambda: True)
    with pytest.raises(DumpError, match="holds 2 of 5 photos"):
        open_dump(path, network, 5)
    assert dump_tokens(network, source, path)
    assert dump_tokens(network, source, whole)
    a, b = open_dump(path, network, 5), open_dump(whole, network, 5)
    assert np.array_equal(a.regions, b.regions) and np.array_equal(a.features, b.features)
    with pytest.raises(DumpError, match="other weights"):
        open_dump(path, other, 5)
    with pytest.raises(DumpError, match="other weights"):
        dump_tokens(other, source, path)
