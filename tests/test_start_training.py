"""The `base` recipe runs from a Mask2Former folder on a small set in gRefCOCO's form."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from test_starting_points import base, mask2former

from model import checkpoint
from model.preprocess import to_pixels
from model.starting_points import config_from_mask2former, write_start
from training.batches import Batch
from training.grefcoco import Dataset, read
from training.recipe_base import BASE
from training.region_targets import no_targets
from training.train import Progress, Trainer

SIDE = 96
SQUARES = [(4, 4, 20, 20), (40, 20, 16, 16)]


def small_set(folder: Path) -> Dataset:
    """Two photos with two squares each; expressions for one, both and none of them."""
    images, annotations, refs = [], [], []
    texts = {"red square": [0], "both squares": [0, 1], "green dog": []}
    for photo in (1, 2):
        pixels = np.full((48, 64, 3), 60 * photo, np.uint8)
        for number, (x, y, w, h) in enumerate(SQUARES):
            pixels[y : y + h, x : x + w] = (255, 0, 0) if number == 0 else (0, 0, 255)
            annotations.append(
                {
                    "id": 10 * photo + number, "image_id": photo, "category_id": 1, "iscrowd": 0,
                    "area": w * h, "bbox": [x, y, w, h],
                    "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
                }
            )  # fmt: skip
        Image.fromarray(pixels).save(folder / f"{photo}.png")
        images.append({"id": photo, "file_name": f"{photo}.png", "width": 64, "height": 48})
        for text, numbers in texts.items():
            ids = [10 * photo + number for number in numbers] or [-1]
            refs.append(
                {
                    "ref_id": len(refs), "image_id": photo, "split": "train", "ann_id": ids,
                    "category_id": [1], "file_name": f"{photo}.png", "no_target": ids == [-1],
                    "sentences": [
                        {"sent_id": len(refs), "raw": text, "sent": text, "tokens": text.split()}
                    ],
                }
            )  # fmt: skip
    categories = [{"id": 1, "name": "square"}]
    instances = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(instances))
    (folder / "grefs(unc).json").write_text(json.dumps(refs))
    return read(folder, "train", folder)


class EverySample:
    """Each step sees every photo with every expression."""

    with_pixels = True

    def __init__(self, data: Dataset, regions: int) -> None:
        self.data, self.regions = data, regions
        self.groups = data.by_photo()

    def __len__(self) -> int:
        return len(self.groups)

    def pixels(self, index: int) -> NDArray[np.uint8]:
        image_id = list(self.groups)[index]
        return to_pixels(Image.open(self.data.photo(image_id)).convert("RGB"), SIDE)

    def phrases(self, rng: np.random.Generator, count: int) -> list[str]:
        return [sample.text for sample in self.data.samples[:count]]

    def batch(self, step: int) -> Batch:
        samples = self.data.samples
        texts = sorted({sample.text for sample in samples})
        photos = list(self.groups)
        masks = torch.stack([torch.from_numpy(self.data.mask(s)).float() for s in samples])
        side = (SIDE // 4, SIDE // 4)
        return Batch(
            pixels=torch.stack(
                [torch.from_numpy(self.pixels(i)).permute(2, 0, 1) for i in range(len(photos))]
            ).float(),
            texts=texts,
            photo=torch.tensor([photos.index(s.image_id) for s in samples]),
            text=torch.tensor([texts.index(s.text) for s in samples]),
            kinds=[s.kind for s in samples],
            no_target=torch.tensor([float(s.no_target) for s in samples]),
            masks=F.interpolate(masks[:, None], size=side, mode="area")[:, 0],
            origin=torch.arange(len(photos)),
            flipped=torch.zeros(len(photos), dtype=torch.bool),
            targets=no_targets(len(photos), self.regions),
        )


def test_base_recipe_learns_from_mask2former_on_a_small_set(tmp_path: Path) -> None:
    mask2former(tmp_path / "mask2former")
    config = config_from_mask2former(tmp_path / "mask2former", base())
    start = tmp_path / "start.safetensors"
    write_start(tmp_path / "mask2former", config, start)
    (tmp_path / "set").mkdir()
    source = EverySample(small_set(tmp_path / "set"), config.regions)
    recipe = replace(BASE, steps=6, batch=2, warmup=2, learning_rate=5e-4, bf16=False)
    trainer = Trainer(
        recipe,
        source.data,  # type: ignore[arg-type]  # not looked at where a source is given
        tmp_path / "run",
        start=start,
        source=source,
    )
    totals: list[float] = []

    def note(progress: Progress) -> None:
        totals.append(progress.losses["total"])

    before = checkpoint.load(start).state_dict()
    assert trainer.run(note)
    assert len(totals) == 6 and totals[-1] < totals[0] and np.isfinite(totals).all()
    after = checkpoint.load(trainer.weights)
    assert after.config == config
    for name in ("ria.decoder.query_features", "backbone.swin.layers.0.blocks.0.attn.qkv.weight"):
        assert not torch.equal(after.state_dict()[name], before[name]), name
