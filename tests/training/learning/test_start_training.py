"""The `base` recipe runs from a Mask2Former folder on a small set in gRefCOCO's form."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import typer
from typer.testing import CliRunner

from model import checkpoint
from referent.train import train
from tests.model.test_starting_points import base, mask2former
from tests.support.grefcoco_squares import small_set
from training.learning.starting import starting_weights
from training.learning.train import Progress, Trainer
from training.recipes.base import BASE


def test_base_recipe_learns_from_mask2former_on_a_small_set(tmp_path: Path) -> None:
    mask2former(tmp_path / "mask2former")
    config = base()
    recipe = replace(
        BASE, model=config, steps=8, batch=2, warmup=2, learning_rate=5e-4, ema=0.5, bf16=False,
        jitter=0.0, flip=False,
    )  # fmt: skip
    start = starting_weights(tmp_path / "mask2former", recipe, tmp_path / "run")
    assert start is not None
    data = small_set(tmp_path / "set")
    trainer = Trainer(recipe, data, tmp_path / "run", start=start)
    totals: list[float] = []

    def note(progress: Progress) -> None:
        totals.append(progress.losses["total"])

    before = checkpoint.load(start).state_dict()
    assert trainer.run(note)
    assert len(totals) == 8 and totals[-1] < totals[0] and np.isfinite(totals).all()
    after = checkpoint.load(trainer.weights)
    assert after.config == config
    for name in ("ria.decoder.query_features", "backbone.swin.layers.0.blocks.0.attn.qkv.weight"):
        assert not torch.equal(after.state_dict()[name], before[name]), name


def test_base_recipe_runs_dry_from_the_command_line(tmp_path: Path) -> None:
    theirs = mask2former(tmp_path / "mask2former").model
    config = base()
    (tmp_path / "small.json").write_text(json.dumps(config.to_dict()))
    small_set(tmp_path / "set")
    app = typer.Typer()
    app.command()(train)
    command = ["base", "--data", str(tmp_path / "set"), "--start", str(tmp_path / "mask2former"),
               "--model", str(tmp_path / "small.json"), "--steps", "2", "--batch", "2",
               "--out", str(tmp_path / "run")]  # fmt: skip
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    weights = next((tmp_path / "run").glob("rela-*.safetensors"))
    assert checkpoint.header(weights)["steps"] == "2"
    kept = checkpoint.load(weights).state_dict()["ria.decoder.query_features"]
    given = theirs.transformer_module.queries_features.weight
    assert torch.allclose(kept, given, atol=1e-2)  # two steps of a warm-up of 1,500
