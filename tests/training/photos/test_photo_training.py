from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from model import checkpoint
from model.errors import WeightsError
from model.network.config import ReLAConfig, SwinConfig
from model.network.preprocess import to_pixels
from model.network.rela import RelaNetwork
from model.network.stem import EfficientLite, TrunkWords, stem_channels
from model.text import TextEncoder
from tests.support.photo_pack import write_pack
from training.data.dump import DumpError
from training.learning.losses import box_losses, shared
from training.learning.session import photo_start
from training.learning.train import Trainer
from training.photos import data as data_module
from training.photos.batches import PhotoSampler
from training.photos.data import PhotoData
from training.photos.maps import dump_maps, open_maps
from training.photos.pack import read_pack
from training.photos.scenes import Album, read_album
from training.recipes.photo import PHOTO
from training.recipes.recipe import Recipe

STEM = "efficientnet-lite0"
CONFIG = ReLAConfig(
    name="photo-test",
    swin=SwinConfig(stem=STEM, depths=(0, 0, 1, 1), num_heads=(0, 0, 4, 8), window_size=4),
    input_size=64, pixel_decoder="fpn", channels=32, mask_stride=8, mask_channels=8,
    regions_per_side=4, ria_layers=3, ria_hidden=64, ria_seeded=True, rla_layers=1,
    word_heads=2, rla_hidden=64, text="minilm", text_channels=384, vectors=4, vector_channels=32,
)  # fmt: skip
RECIPE = replace(
    PHOTO, model=CONFIG, batch=3, steps=4, warmup=1, positives=2, false_ones=1, crossed=1,
    bf16=False, slips=0.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PhotoData:
    folder = tmp_path_factory.mktemp("photos")
    album = read_album(read_pack(write_pack(folder / "own")), folder / "cache", CONFIG.mask_side)
    maps = open_maps(_dumped(album, folder / "maps"))
    return PhotoData(album, lambda at: _pixels(album, at), maps)


def _pixels(album: Album, at: int) -> NDArray[np.uint8]:
    with Image.open(album.told[at].photo.path) as image:
        return to_pixels(image.convert("RGB"), CONFIG.input_size)


def _trunk() -> tuple[EfficientLite, TrunkWords]:
    torch.manual_seed(3)
    words = TrunkWords(stem_channels(STEM)[-1], 384)
    words.names.normal_(std=0.05)
    return EfficientLite(STEM), words


def _dumped(album: Album, path: Path, until: int | None = None) -> Path:
    keys = [told.photo.key for told in album.told]
    looked = 0

    def pixels(at: int) -> NDArray[np.uint8]:
        nonlocal looked
        looked += 1
        return _pixels(album, at)

    dump_maps(
        *_trunk(), STEM, CONFIG.input_size, keys, pixels, path,
        should_stop=lambda: until is not None and looked >= until,
    )  # fmt: skip
    return path


def _sampler(
    data: PhotoData, rank: int = 0, world: int = 1, recipe: Recipe = RECIPE
) -> PhotoSampler:
    rows = range(len(data.album))
    return PhotoSampler(data, rows, recipe, CONFIG.regions_per_side, rank, world)


def test_a_dump_of_other_photos_is_refused(data: PhotoData, tmp_path: Path) -> None:
    path = _dumped(data.album, tmp_path)
    with pytest.raises(DumpError, match="other weights or photos"):
        dump_maps(*_trunk(), STEM, 64, ["another"], lambda at: _pixels(data.album, at), path)


def test_the_same_batch_is_drawn_again_and_shared_out_between_processes(data: PhotoData) -> None:
    whole, again = _sampler(data).batch(5), _sampler(data).batch(5)
    assert whole.texts == again.texts
    assert torch.equal(whole.masks, again.masks)
    parts = [_sampler(data, rank, 3).batch(5) for rank in range(3)]
    assert torch.equal(torch.cat([part.origin for part in parts]), whole.origin)
    texts = [part.texts[t] for part in parts for t in part.text.tolist()]
    assert texts == [whole.texts[t] for t in whole.text.tolist()]
    assert torch.equal(torch.cat([part.masks for part in parts]), whole.masks)


def test_a_mirrored_photo_has_mirrored_maps_and_masks(data: PhotoData) -> None:
    sampler = _sampler(data)
    batch = next(b for b in map(sampler.batch, range(30)) if bool(b.flipped.any()))
    assert batch.maps is not None
    assert data.dump is not None
    at = int(torch.nonzero(batch.flipped)[0])
    kept = torch.from_numpy(np.array(data.dump.maps["res3"][int(batch.origin[at])])).float()
    assert torch.equal(batch.maps["res3"][at], kept.flip(-1))


def test_what_is_there_without_a_known_mask_teaches_presence_alone(data: PhotoData) -> None:
    for step in range(12):
        batch = _sampler(data).batch(step)
        assert batch.by_box is not None
        assert batch.maskless is not None
        empty = batch.masks.flatten(1).amax(1) == 0
        assert bool((batch.no_target[empty & ~batch.maskless] == 1).all())
        assert bool((batch.no_target[batch.maskless] == 0).all())
        assert bool((batch.no_target[batch.by_box] == 0).all())


def test_what_an_expression_leaves_out_is_paired_with_it(data: PhotoData) -> None:
    found = 0
    for batch in map(_sampler(data, recipe=replace(RECIPE, complements=1.0)).batch, range(12)):
        assert batch.rests is not None
        for said, left_out in batch.rests.tolist():
            assert batch.photo[said] == batch.photo[left_out]
            assert not bool(batch.no_target[[said, left_out]].any())
            found += 1
    assert found


def test_masks_that_should_part_are_pushed_apart(data: PhotoData, tmp_path: Path) -> None:
    left, right = torch.full((2, 1, 8, 8), -9.0)
    left[0, :, :4] = right[0, :, 4:] = 9.0
    both = torch.full((1, 8, 8), 9.0)
    assert float(shared(left, right)) < 0.01
    assert float(shared(left, both)) > 0.9  # of the smaller one
    start = tmp_path / "start.safetensors"
    checkpoint.save(RelaNetwork(CONFIG), start)
    recipe = replace(RECIPE, complements=1.0, losses=replace(RECIPE.losses, overlap=1.0))
    source = _sampler(data, recipe=recipe)
    trainer = Trainer(recipe, data, tmp_path / "run", "cpu", start, source)
    shares = [trainer.advance()["overlap"] for _ in range(4)]
    assert any(0 < share <= 1 for share in shares)


def test_a_run_learns_behind_the_stem_and_leaves_the_stem_as_it_is(
    data: PhotoData, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    start = tmp_path / "start.safetensors"
    checkpoint.save(RelaNetwork(CONFIG), start)
    trainer = Trainer(RECIPE, data, tmp_path / "run", "cpu", start, _sampler(data))
    before = {n: v.clone() for n, v in trainer.module.network.state_dict().items()}
    losses = [trainer.advance() for _ in range(4)]
    assert all(np.isfinite(list(each.values())).all() for each in losses)
    assert {"no_target", "mask", "dice", "minimap", "regions"} <= set(losses[0])
    after = trainer.module.network.state_dict()
    frozen = [n for n in before if n.startswith("backbone.")]
    assert frozen
    assert all(torch.equal(before[n], after[n]) for n in frozen)
    assert not torch.equal(before["head.minimap.weight"], after["head.minimap.weight"])


@pytest.mark.parametrize("stage", ["decoder", "all"])
def test_a_network_without_a_stem_learns_from_the_pixels(
    data: PhotoData, tmp_path: Path, stage: Literal["decoder", "all"]
) -> None:
    swin = SwinConfig(embed_dim=24, depths=(1, 1, 1, 1), num_heads=(1, 2, 4, 8), window_size=4)
    config = replace(CONFIG, name="pixels-test", swin=swin, mask_stride=4)
    recipe = replace(RECIPE, model=config, stage=stage)
    photos = [told.photo for told in data.album.told]
    album = read_album(photos, tmp_path / "scenes", config.mask_side)
    seen = PhotoData(album, data.pixels, None)
    source = _sampler(seen, recipe=recipe)
    batch = next(b for b in map(source.batch, range(30)) if bool(b.flipped.any()))
    at = int(torch.nonzero(batch.flipped)[0])
    kept = torch.from_numpy(data.pixels(int(batch.origin[at])).copy()).permute(2, 0, 1).float()
    assert torch.equal(batch.pixels[at], kept.flip(-1))
    assert "class" not in batch.kinds  # a stem's own knowledge
    torch.manual_seed(1)
    start = tmp_path / "start.safetensors"
    checkpoint.save(RelaNetwork(config), start)
    trainer = Trainer(recipe, seen, tmp_path / "run", "cpu", start, source)
    before = {n: v.clone() for n, v in trainer.module.network.state_dict().items()}
    losses = [trainer.advance() for _ in range(2)]
    assert all(np.isfinite(list(each.values())).all() for each in losses)
    after = trainer.module.network.state_dict()
    changed = {n for n in before if not torch.equal(before[n], after[n])}
    assert any(n.startswith("pixel_decoder.") for n in changed)
    assert any(n.startswith("backbone.") for n in changed) == (stage == "all")


def test_a_stemless_network_says_what_it_can_begin_with(data: PhotoData, tmp_path: Path) -> None:
    recipe = replace(RECIPE, model="rela-tiny")
    with pytest.raises(WeightsError, match=r"rela-tiny has no published stem.*--start"):
        photo_start(recipe, PhotoData(data.album, data.pixels, None), tmp_path)


def test_a_box_says_where_nothing_is_and_how_wide_and_high_a_thing_is() -> None:
    box = torch.zeros(1, 8, 8)
    box[0, 2:6, 1:5] = 1.0
    cross = torch.full((1, 8, 8), -9.0)
    cross[0, 3, 1:5] = 9.0
    cross[0, 2:6, 2] = 9.0
    outside, projected = box_losses(cross, box)
    assert float(outside) < 1e-3  # a thing need not fill its box
    assert float(projected) < 0.01
    narrow = torch.full((1, 8, 8), -9.0)
    narrow[0, 2:6, 2] = 9.0
    assert float(box_losses(narrow, box)[1]) > 0.1
    beyond = cross.clone()
    beyond[0, 7, 7] = 9.0
    assert float(box_losses(beyond, box)[0]) > 0.1


def test_a_pack_of_boxes_trains_without_composites(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_module, "trunk_with_words", lambda *_: _trunk())
    pack = write_pack(tmp_path / "own")
    opened = data_module.open_photos(pack, CONFIG, TextEncoder("minilm"), tmp_path, composed=5)
    assert {told.photo.folder for told in opened.album.told} == {"own"}
    assert opened.dump is not None
    assert len(opened.dump) == len(opened.album) > 0
    assert np.array_equal(opened.pixels(1), _pixels(opened.album, 1))
    tiny = replace(CONFIG, swin=replace(CONFIG.swin, stem=""), mask_stride=4)
    assert data_module.open_photos(pack, tiny, TextEncoder("minilm"), tmp_path).dump is None
