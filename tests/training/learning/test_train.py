from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from model import checkpoint
from model.errors import ModelError, WeightsError
from model.network.rela import RelaNetwork
from referent.main import app
from tests.support.tiny_model import TINY, write_tiny_model
from tests.support.train_process import RECIPE, TOGETHER
from training.data import shards as shards_of
from training.data.batches import NEIGHBOURS, Batch, Place, Sampler, draw, instance_shares
from training.data.shards import (
    PART,
    Shards,
    default_folder,
    first_photo,
    open_shards,
    render,
    wait_for,
)
from training.errors import Diverged
from training.language import grammar
from training.learning import prefilter
from training.learning.legs import RecipeChanged
from training.learning.losses import minimap_target
from training.learning.session import RECIPES, data_of, run_recipe
from training.learning.train import Progress, Ready, Trainer
from training.learning.validation import Validation
from training.measuring import testsets
from training.recipes.recipe import Recipe


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    render(folder, "train", 12, 64, 1, workers=1)
    return folder


@pytest.fixture(scope="module")
def shards(folder: Path) -> Shards:
    return open_shards(folder)


def test_loss_falls_over_thirty_steps_and_is_logged(shards: Shards, tmp_path: Path) -> None:
    totals: list[float] = []

    def note(progress: Progress) -> None:
        totals.append(progress.losses["total"])

    trainer = Trainer(RECIPE, shards, tmp_path)
    assert trainer.run(note)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    # What is shown is a running mean that keeps 0.98 of itself a step.
    assert totals[-1] < 0.9 * totals[0]
    assert [row["step"] for row in rows] == [20] and rows[0]["lr"] > 0
    assert list((tmp_path / "tensorboard").glob("events.*"))
    kept = checkpoint.load(tmp_path / "rela-atom.safetensors")
    assert kept.config == TINY
    assert checkpoint.header(tmp_path / "rela-atom.safetensors")["steps"] == "30"


def test_a_resumed_run_ends_with_the_same_weights_to_the_bit(
    shards: Shards, tmp_path: Path
) -> None:
    recipe = replace(RECIPE, steps=6)
    whole = Trainer(recipe, shards, tmp_path / "whole")
    whole.run()
    first = Trainer(recipe, shards, tmp_path / "parts")
    assert not first.run(should_stop=lambda: first.step == 3)
    second = Trainer(recipe, shards, tmp_path / "parts")
    assert second.step == 3
    assert second.run()
    for name, value in whole.module.state_dict().items():
        assert torch.equal(value, second.module.state_dict()[name]), name
    for name, value in whole.average.items():
        assert torch.equal(value, second.average[name]), name


def test_weights_of_one_input_size_go_on_at_another(shards: Shards, tmp_path: Path) -> None:
    whole = replace(TINY, swin=replace(TINY.swin, built_for=TINY.input_size))
    begin = tmp_path / "begin.safetensors"
    checkpoint.save(RelaNetwork(replace(whole, input_size=whole.input_size // 2)), begin, {})
    recipe = replace(RECIPE, model=whole, steps=1)
    trainer = Trainer(recipe, shards, tmp_path / "run", start=begin)
    assert trainer.run()
    assert checkpoint.load(trainer.weights).config == whole


def test_batches_drawn_ahead_train_the_same_weights(shards: Shards, tmp_path: Path) -> None:
    recipe = replace(RECIPE, steps=4, accumulate=2)
    between = Trainer(recipe, shards, tmp_path / "between")
    between.run()
    first = Trainer(recipe, shards, tmp_path / "ahead", loaders=1)
    assert not first.run(should_stop=lambda: first.step == 2)
    second = Trainer(recipe, shards, tmp_path / "ahead", loaders=1)
    assert second.run()
    for name, value in between.module.state_dict().items():
        assert torch.equal(value, second.module.state_dict()[name]), name


def test_muon_moves_matrices_adamw_the_rest_and_a_resumed_run_has_both(
    shards: Shards, tmp_path: Path
) -> None:
    recipe = replace(RECIPE, steps=4, optimizer="muon", ria_rate=0.5, backbone_rate=0.1)
    whole = Trainer(recipe, shards, tmp_path / "whole")
    adamw, muon = whole.optimizers
    moved = {id(p) for group in muon.param_groups for p in group["params"]}
    matrices = {n for n, p in whole.module.named_parameters() if id(p) in moved}
    assert "network.head.layers.0.word_query.weight" in matrices
    assert not any("readout" in n or "query_features" in n or "bias" in n for n in matrices)
    factors = {
        n: group["factor"]
        for optimizer in (adamw, muon)
        for group in optimizer.param_groups
        for n, p in whole.module.named_parameters()
        if any(p is q for q in group["params"])
    }
    assert len(factors) == sum(p.requires_grad for p in whole.module.parameters())
    for name, factor in factors.items():
        wanted = 0.1 if ".backbone." in name else 0.5 if ".ria." in name else 1.0
        assert factor == wanted, name
    whole.run()
    first = Trainer(recipe, shards, tmp_path / "parts")
    assert not first.run(should_stop=lambda: first.step == 2)
    second = Trainer(recipe, shards, tmp_path / "parts")
    assert second.run()
    for name, value in whole.module.state_dict().items():
        assert torch.equal(value, second.module.state_dict()[name]), name


@pytest.mark.timeout(900)
def test_two_processes_have_the_losses_of_one(folder: Path, shards: Shards, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    alone = Trainer(TOGETHER, shards, tmp_path / "one")
    one = [alone.advance() for _ in range(TOGETHER.steps)]
    root = Path(__file__).parents[3]
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
         str(root / "tests/support/train_process.py"), str(folder), str(tmp_path / "two")],
        check=True,
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
    )  # fmt: skip
    two = json.loads((tmp_path / "two" / "losses.json").read_text())
    assert len(one) == len(two) == 3
    for losses, together in zip(one, two, strict=True):
        assert together == pytest.approx(losses, abs=1e-5, rel=1e-5)
    assert {"deep_mask", "deep_minimap", "dense", "region_masks"} <= one[0].keys()


def test_processes_share_the_batch_that_one_makes(shards: Shards) -> None:
    whole = Sampler(shards, RECIPE, 4).batch(5)
    halves = [Sampler(shards, RECIPE, 4, rank, 2).batch(5) for rank in range(2)]
    assert torch.equal(whole.pixels, torch.cat([h.pixels for h in halves]))
    assert torch.equal(whole.masks, torch.cat([h.masks for h in halves]))
    said = [h.texts[t] for h in halves for t in h.text.tolist()]
    assert said == [whole.texts[t] for t in whole.text.tolist()]


def test_slips_change_words_and_nothing_else(shards: Shards) -> None:
    typed = Sampler(shards, RECIPE, 4).batch(0)
    slipped = Sampler(shards, replace(RECIPE, slips=1.0), 4).batch(0)
    before, after = ([b.texts[t] for t in b.text.tolist()] for b in (typed, slipped))
    changed = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert len(changed) > len(before) // 4
    for a, b in changed:
        words = list(zip(a.split(), b.split(), strict=True))
        assert sum(one != other for one, other in words) == 1
    assert slipped.kinds == typed.kinds
    assert torch.equal(slipped.masks, typed.masks)


def test_a_flipped_photo_swaps_left_and_right_in_its_words_and_masks(shards: Shards) -> None:
    recipe = replace(RECIPE, crossed=0, absent=0, jitter=0.0, positives=6)
    seen = 0
    for step in range(4):
        straight = Sampler(shards, replace(recipe, flip=False), 4).batch(step)
        mixed = Sampler(shards, recipe, 4).batch(step)
        assert torch.equal(straight.origin, mixed.origin)
        assert len(straight.photo) == len(mixed.photo)
        for m, photo in enumerate(mixed.photo.tolist()):
            before = straight.texts[int(straight.text[m])]
            after = mixed.texts[int(mixed.text[m])]
            if not mixed.flipped[photo]:
                assert after == before
                continue
            assert after == grammar.mirror(before)
            assert torch.allclose(mixed.masks[m], straight.masks[m].flip(-1))
            assert torch.equal(mixed.pixels[photo], straight.pixels[photo].flip(-1))
            seen += "left" in before or "right" in before
    assert seen > 0


def _places(shards: Shards, recipe: Recipe, step: int) -> list[Place]:
    drawn = draw(recipe, step, len(shards), 0, 1)
    return [
        Place(shards.scenes[p], f, (recipe.data_seed, 78, step, at), recipe)
        for at, (p, f) in enumerate(zip(drawn.photos, drawn.flips, strict=True))
    ]


def test_expressions_of_other_photos_and_absent_ones_have_exact_truth(shards: Shards) -> None:
    crossed = targets = absent = 0
    for step in range(6):
        batch = Sampler(shards, RECIPE, 4).batch(step)
        places = _places(shards, RECIPE, step)
        programs = {e.text: e.program for place in places for e in place.own}
        for m, photo in enumerate(batch.photo.tolist()):
            text = batch.texts[int(batch.text[m])]
            if batch.kinds[m] == "absent":
                absent += 1
                assert batch.no_target[m] == 1 and batch.masks[m].sum() == 0
            own = {e.text for e in places[photo].own + places[photo].false}
            mirrored = {grammar.mirror(t) for t in own}
            if text not in programs or text in own | mirrored:
                continue
            referents = grammar.execute(programs[text], places[photo].scene)
            assert referents is not None
            assert bool(batch.no_target[m]) == (not referents)
            assert torch.equal(batch.masks[m], _union(shards, batch, photo, referents))
            crossed += 1
            targets += bool(referents)
    assert absent == 6 * 4
    assert crossed > 20
    assert targets > 0


def _union(shards: Shards, batch: Batch, photo: int, referents: frozenset[int]) -> torch.Tensor:
    ids = shards.photo(int(batch.origin[photo]))[1].copy()
    if batch.flipped[photo]:
        ids = ids[:, ::-1]
    shares = instance_shares(ids[None])[0]
    return sum((shares[i] for i in referents if i < len(shares)), torch.zeros(16, 16)).clamp(
        max=1.0
    )


def test_a_photo_is_asked_what_was_written_for_its_neighbours() -> None:
    drawn = draw(replace(RECIPE, batch=20), 0, 40, 1, 4)
    assert drawn.mine == range(5, 10)
    assert drawn.neighbours(18) == [(18 + k) % 20 for k in range(1, NEIGHBOURS + 1)]
    small = draw(replace(RECIPE, batch=3), 0, 40, 0, 1)
    assert small.neighbours(0) == [1, 2]


def test_a_batch_larger_than_the_data_is_refused(shards: Shards) -> None:
    with pytest.raises(ModelError, match="12 photos are less than a batch of 13"):
        Sampler(shards, replace(RECIPE, batch=13), 4).batch(0)
    with pytest.raises(ModelError, match="cannot be shared by 5 processes"):
        Sampler(shards, RECIPE, 4, 0, 5).batch(0)


def test_minimap_target_counts_a_third_of_a_cell_as_the_whole() -> None:
    masks = torch.zeros(1, 8, 8)
    masks[0, :4, :4] = 1.0  # all of the first of 2 x 2 cells
    masks[0, :4, 4:] = 1 / 6
    masks[0, 4:, 4] = 1.0  # a quarter of the last cell
    assert minimap_target(masks, 2)[0].tolist() == pytest.approx([1.0, 0.5, 0.0, 0.75])


def test_minimap_target_of_the_paper_is_the_cells_share() -> None:
    masks = torch.zeros(1, 8, 8)
    masks[0, :4, 4:] = 1 / 6
    masks[0, 4:, 4] = 1.0
    target = minimap_target(masks, 2, "mean")
    assert target[0].tolist() == pytest.approx([0.0, 1 / 6, 0.0, 0.25])


def test_masks_of_pairs_without_a_target_are_learned_where_the_recipe_says_so(
    shards: Shards, tmp_path: Path
) -> None:
    shown = {}
    for everywhere in (False, True):
        losses = replace(RECIPE.losses, mask_everywhere=everywhere)
        trainer = Trainer(replace(RECIPE, losses=losses), shards, tmp_path / str(everywhere))
        shown[everywhere] = trainer.advance()
    assert shown[True]["no_target"] == pytest.approx(shown[False]["no_target"], rel=1e-6)
    # Masks begin near one half everywhere: empty ones overlap with nothing.
    assert shown[True]["dice"] > shown[False]["dice"]


def test_deep_supervision_adds_losses_of_earlier_layers(shards: Shards, tmp_path: Path) -> None:
    model = replace(TINY, rla_layers=2)
    deep = Trainer(replace(RECIPE, model=model), shards, tmp_path / "deep").advance()
    losses = replace(RECIPE.losses, deep=0.0)
    plain = Trainer(replace(RECIPE, model=model, losses=losses), shards, tmp_path / "plain")
    shown = plain.advance()
    assert {n for n in deep if n.startswith("deep_")} == {
        "deep_no_target", "deep_minimap", "deep_mask", "deep_dice",
    }  # fmt: skip
    assert not any(n.startswith("deep_") for n in shown)
    assert deep["mask"] == pytest.approx(shown["mask"], rel=1e-4)


def test_time_limit_stops_and_saves(shards: Shards, tmp_path: Path) -> None:
    trainer = Trainer(RECIPE, shards, tmp_path)
    assert not trainer.run(limit_minutes=0)
    assert trainer.step == 1
    assert Trainer(RECIPE, shards, tmp_path).step == 1


def test_truncated_run_is_named_with_a_remedy(shards: Shards, tmp_path: Path) -> None:
    Trainer(RECIPE, shards, tmp_path).save()
    last = tmp_path / "last.pt"
    whole = last.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"no run at all"):
        last.write_bytes(content)
        with pytest.raises(WeightsError, match=r"last\.pt cannot be resumed.*--out"):
            Trainer(RECIPE, shards, tmp_path)
    last.write_bytes(whole)
    old = torch.load(last, weights_only=True)
    del old["legs"]
    torch.save(old, last)
    with pytest.raises(WeightsError, match=r"last\.pt was written by an older version.*--start"):
        Trainer(RECIPE, shards, tmp_path)


def test_a_run_is_resumed_by_its_own_recipe_or_by_a_further_leg_that_is_recorded(
    shards: Shards, tmp_path: Path
) -> None:
    recipe = replace(RECIPE, steps=4)
    first = Trainer(recipe, shards, tmp_path)
    assert not first.run(should_stop=lambda: first.step == 2)
    changed = replace(recipe, batch=3, losses=replace(recipe.losses, dice=0.0), weight_decay=0.0)
    before = (tmp_path / "last.pt").read_bytes()
    named = r"until step 2 \(batch was 4, is 3; weight_decay was .*; losses\.dice was 2\.0, is 0"
    with pytest.raises(RecipeChanged, match=named):
        Trainer(changed, shards, tmp_path)
    with pytest.raises(RecipeChanged, match=r"model\.channels was 16, is 32"):
        other = replace(recipe, model=replace(TINY, channels=32))
        Trainer(other, shards, tmp_path, new_leg=True)
    assert (tmp_path / "last.pt").read_bytes() == before
    # Begun before recipes could say so: that is their default.
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    rows = json.loads(state["legs"])
    del rows[0]["recipe"]["complements"], rows[0]["recipe"]["losses"]["mask_everywhere"]
    torch.save({**state, "legs": json.dumps(rows)}, tmp_path / "last.pt")
    # How often it is saved moves no weight.
    assert Trainer(replace(recipe, checkpoint_minutes=1.0), shards, tmp_path).step == 2

    second = Trainer(changed, shards, tmp_path, new_leg=True)
    decays = {g["weight_decay"] for o in second.optimizers for g in o.param_groups}
    assert second.step == 2 and decays == {0.0}
    assert second.run()
    told = checkpoint.header(second.weights)
    rows = json.loads(told["legs"])
    assert [row["after"] for row in rows] == [0, 2] and told["steps"] == "4"
    assert [row["recipe"]["batch"] for row in rows] == [4, 3]
    assert [row["recipe"]["losses"]["dice"] for row in rows] == [2.0, 0.0]
    assert rows[0]["digest"] != rows[1]["digest"]
    muon = replace(changed, optimizer="muon", steps=5)
    assert Trainer(muon, shards, tmp_path, new_leg=True).run()  # begins with fresh moments
    assert Trainer(muon, shards, tmp_path).step == 5


def test_a_resumed_run_keeps_the_network_that_it_started_from(
    shards: Shards, tmp_path: Path
) -> None:
    begin = Path(write_tiny_model(tmp_path / "b.safetensors", config=replace(TINY, rla_layers=2)))
    recipe = replace(RECIPE, steps=2)
    first = Trainer(recipe, shards, tmp_path / "run", start=begin)
    assert not first.run(should_stop=lambda: True)
    second = Trainer(recipe, shards, tmp_path / "run")
    assert second.module.network.config.rla_layers == 2
    assert second.run()


def test_a_run_that_diverges_stops_at_once_and_keeps_the_last_good_weights(
    shards: Shards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(RECIPE, steps=6)
    first = Trainer(recipe, shards, tmp_path)
    assert not first.run(should_stop=lambda: first.step == 2)
    kept = {p.name: p.read_bytes() for p in (first.weights, tmp_path / "last.pt")}
    second = Trainer(recipe, shards, tmp_path)
    read = second._read

    def poisoned(ready: Ready) -> Ready:
        ready = read(ready)
        if second.step == 3:
            ready.batch.masks[0] = float("nan")
        return ready

    monkeypatch.setattr(second, "_read", poisoned)
    with pytest.raises(Diverged, match=r"diverged at step 4 \(.*mask nan.*those of step 2"):
        second.run()
    assert second.step == 3
    assert all((tmp_path / name).read_bytes() == content for name, content in kept.items())
    third = Trainer(recipe, shards, tmp_path / "anew")
    with pytest.raises(Diverged, match=r"step 1 .*nothing had been saved yet. Begin again"):
        third._check_finite({"mask": float("nan")})


def test_weights_that_are_no_numbers_are_never_written(shards: Shards, tmp_path: Path) -> None:
    trainer = Trainer(RECIPE, shards, tmp_path)
    list(trainer.average.values())[5].view(-1)[0] = float("nan")
    with pytest.raises(Diverged, match="weights nan"):
        trainer.save()
    network = RelaNetwork(TINY)
    network.head.no_target.layers[-1].bias.data.fill_(1e6)  # too large for fp16
    with pytest.raises(WeightsError, match="not finite in fp16"):
        checkpoint.save(network, tmp_path / "large.safetensors")
    assert not list(tmp_path.glob("*.safetensors")) and not (tmp_path / "last.pt").exists()


def test_the_log_of_a_killed_run_goes_on_as_if_it_had_not_been(
    shards: Shards, tmp_path: Path
) -> None:
    def losses(folder: Path) -> list[dict[str, float]]:
        rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        return [{k: v for k, v in row.items() if k != "elapsed_s"} for row in rows]

    recipe = replace(RECIPE, steps=60)
    Trainer(recipe, shards, tmp_path / "whole").run()
    first = Trainer(recipe, shards, tmp_path / "killed")
    first.run(should_stop=lambda: first.step == 30)
    state = (tmp_path / "killed/last.pt").read_bytes()
    later = Trainer(recipe, shards, tmp_path / "killed")
    later.run(should_stop=lambda: later.step == 50)
    (tmp_path / "killed/last.pt").write_bytes(state)  # as if that had been killed, not stopped
    with (tmp_path / "killed/log.jsonl").open("a") as log:
        log.write('{"step": 6')
    last = Trainer(recipe, shards, tmp_path / "killed")
    assert last.step == 30
    last.run()
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    assert [row["step"] for row in losses(tmp_path / "whole")] == [20, 40, 60]


def test_the_log_holds_the_steps_own_losses_beside_the_running_means(
    shards: Shards, tmp_path: Path
) -> None:
    trainer = Trainer(replace(RECIPE, steps=20), shards, tmp_path)
    seen: list[dict[str, float]] = []
    step = trainer.advance
    trainer.advance = lambda: seen.append(step()) or seen[-1]  # type: ignore[method-assign,func-returns-value]
    trainer.run()
    (row,) = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert {n: row[f"raw_{n}"] for n in seen[-1]} == seen[-1]
    assert row["total"] != row["raw_total"]


def test_two_seeds_one_of_the_networks_start_and_one_of_the_data(
    shards: Shards, tmp_path: Path
) -> None:
    one = Trainer(RECIPE, shards, tmp_path / "a")
    start = Trainer(replace(RECIPE, seed=2), shards, tmp_path / "b")
    data = Trainer(replace(RECIPE, data_seed=2), shards, tmp_path / "c")
    name, weight = next((n, p) for n, p in one.module.named_parameters() if p.ndim > 1)
    assert not torch.equal(weight, dict(start.module.named_parameters())[name])
    assert torch.equal(weight, dict(data.module.named_parameters())[name])
    batches = [trainer.sampler.batch(0) for trainer in (one, start, data)]
    assert batches[0].texts == batches[1].texts != batches[2].texts
    photos = {seed: range(first_photo(seed), first_photo(seed) + 500_000) for seed in (1, 2, 3)}
    assert first_photo(1) == 1 and not set(photos[2]) & {*photos[1], *photos[3]}
    with pytest.raises(ModelError, match="data_seed must lie in 1 to 999"):
        replace(RECIPE, data_seed=0)


def test_a_run_is_measured_as_it_goes_and_its_best_weights_are_kept(
    shards: Shards, tmp_path: Path
) -> None:
    values = iter([0.1, 0.4, 0.3, 0.2])

    def measure(path: Path) -> dict[str, float | None]:
        assert checkpoint.load(path).config == dropping
        return {"giou": next(values), "n_acc": None}

    # With stochastic depth, which draws from the numbers that looking must leave alone.
    dropping = replace(TINY, swin=replace(TINY.swin, drop_path=0.5))
    recipe = replace(RECIPE, model=dropping, steps=7)
    plain = Trainer(recipe, shards, tmp_path / "plain")
    plain.run()
    validation = Validation(tmp_path / "run", measure, every=2, keep=2)
    first = Trainer(recipe, shards, tmp_path / "run")
    first.run(should_stop=lambda: first.step == 5, validation=validation)
    kept = (tmp_path / "run/last.pt").read_bytes()
    last = Trainer(recipe, shards, tmp_path / "run")
    assert last.run(validation=validation)
    rows = validation.rows()
    assert [(r["step"], r["giou"], r["best"]) for r in rows] == [
        (2, 0.1, True), (4, 0.4, True), (6, 0.3, False), (7, 0.2, False),
    ]  # fmt: skip
    best = tmp_path / "run/best.safetensors"
    assert checkpoint.header(best)["steps"] == "4"
    left = sorted(p.name for p in (tmp_path / "run/checkpoints").iterdir())
    assert left == ["rela-atom-00000006.safetensors", "rela-atom-00000007.safetensors"]
    # Looking changes nothing of what is learned.
    assert last.weights.read_bytes() == plain.weights.read_bytes()
    (tmp_path / "run/last.pt").write_bytes(kept)  # as after a kill
    validation.go_on(Trainer(recipe, shards, tmp_path / "run").step)
    assert [row["step"] for row in validation.rows()] == [2, 4]


def test_a_recipe_is_changed_and_measured_from_the_command_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFERENT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(testsets, "QUICK", testsets.Sizes(2, 4, 4, 1, 4))
    (tmp_path / "tiny.json").write_text(json.dumps(TINY.to_dict()))
    (tmp_path / "my.toml").write_text("batch = 3\n[losses]\nregions = 0\n")
    out = tmp_path / "run"
    command = ["train", "mini", "--out", str(out), "--data", str(folder), "--photos", "12",
               "--model", str(tmp_path / "tiny.json"), "--steps", "2", "--seed", "3",
               "--recipe", str(tmp_path / "my.toml"), "--set", "losses.dice=0",
               "--set", "optimizer.lr=3e-5", "--val", "synthetic:val", "--every", "1"]  # fmt: skip
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    (leg,) = json.loads(checkpoint.header(out / "best.safetensors")["legs"])
    told = leg["recipe"]
    assert (told["batch"], told["seed"], told["learning_rate"]) == (3, 3, 3e-5)
    assert (told["losses"]["dice"], told["losses"]["regions"]) == (0.0, 0.0)
    rows = [json.loads(line) for line in (out / "val.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2] and 0 <= rows[0]["giou"] <= 1
    refused = CliRunner().invoke(app, [*command, "--set", "losses.dise=0"])
    assert "did you mean losses.dice" in str(refused.exception)


def test_equal_runs_make_equal_files(shards: Shards, tmp_path: Path) -> None:
    recipe = replace(RECIPE, steps=2)
    made = []
    for name in ("a", "b"):
        trainer = Trainer(recipe, shards, tmp_path / name)
        trainer.elapsed_s = 60.0 * len(made)  # one of them took longer
        trainer.run()
        made.append(trainer.weights.read_bytes())
    assert made[0] == made[1]


def test_mini_recipe_runs_some_steps(folder: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPES["mini"], model=TINY, photos=12, steps=3, batch=4)
    path = run_recipe(recipe, tmp_path, data=folder)
    assert checkpoint.header(path)["steps"] == "3"


@pytest.mark.timeout(900)
def test_ctrl_c_saves_a_run_that_can_be_resumed(
    shards: Shards, folder: Path, tmp_path: Path
) -> None:
    configuration = tmp_path / "tiny.json"
    configuration.write_text(json.dumps(TINY.to_dict()))
    out = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "referent.main", "train", "mini", "--out", str(out),
         "--data", str(folder), "--model", str(configuration), "--photos", "12", "--batch", "4"],
        cwd=Path(__file__).parents[3],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        while not (out / "log.jsonl").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=600)
    finally:
        process.kill()
    assert process.returncode == 130, stderr.decode()
    assert not stdout and str(out / "rela-atom.safetensors") in stderr.decode()
    recipe = replace(RECIPES["mini"], model=TINY, photos=12, batch=4)
    assert Trainer(recipe, shards, out).step >= 20


def test_prefilter_recipe_trains_its_projections_alone(folder: Path, tmp_path: Path) -> None:
    start = Path(write_tiny_model(tmp_path / "start.safetensors"))
    recipe = replace(
        RECIPES["mini-prefilter"], model=TINY, photos=12, steps=5, batch=4, teacher=(12, 16)
    )
    path = run_recipe(recipe, tmp_path / "run", data=folder, start=start)
    before, after = checkpoint.load(start).state_dict(), checkpoint.load(path).state_dict()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed
    assert all(n.startswith(("vector_pool.", "words.sentence.", "rough.")) for n in changed)
    with pytest.raises(WeightsError, match="--start"):
        run_recipe(recipe, tmp_path / "none", data=folder)


def test_prefilter_recipe_makes_projections_of_another_form_anew(
    folder: Path, tmp_path: Path
) -> None:
    bare = replace(TINY, rough_layers=0)
    start = Path(write_tiny_model(tmp_path / "start.safetensors", config=bare))
    form = replace(TINY, vector_layers=1)
    recipe = replace(
        RECIPES["mini-prefilter"], model=form, photos=12, steps=3, batch=4, teacher=(12, 16)
    )
    path = run_recipe(recipe, tmp_path / "run", data=folder, start=start)
    made, before = checkpoint.load(path), checkpoint.load(start).state_dict()
    assert made.config == form
    after = made.state_dict()
    for name, value in before.items():
        if not name.startswith(("vector_pool.", "words.sentence.", "rough.")):
            assert torch.equal(value, after[name]), name
    again = run_recipe(replace(recipe, steps=6), tmp_path / "on", data=folder, start=path)
    further = checkpoint.load(again).state_dict()
    parts = {n.split(".")[0] for n in after if not torch.equal(after[n], further[n])}
    assert parts == {"vector_pool", "words", "rough"}


def test_interrupted_prefilter_stage_goes_on_as_if_it_had_not_been(
    folder: Path, tmp_path: Path
) -> None:
    bare = replace(TINY, rough_layers=0)
    start = Path(write_tiny_model(tmp_path / "start.safetensors", config=bare))
    form = replace(TINY, vector_layers=1)
    recipe = replace(
        RECIPES["mini-prefilter"], model=form, photos=12, steps=6, batch=4, teacher=(12, 16)
    )
    whole = run_recipe(recipe, tmp_path / "whole", data=folder, start=start)
    steps = iter([False] * 2 + [True])
    part = tmp_path / "part"
    prefilter.train_prefilter(
        recipe, open_shards(folder), part, start, should_stop=lambda: next(steps, True)
    )
    for other in (replace(recipe, steps=7), replace(recipe, seed=2)):
        with pytest.raises(RecipeChanged, match=r"prefilter\.pt cannot be resumed"):
            run_recipe(other, part, data=folder, start=start)
    resumed = run_recipe(recipe, part, data=folder, start=start)
    done = checkpoint.load(resumed).state_dict()
    for name, value in checkpoint.load(whole).state_dict().items():
        assert torch.equal(value, done[name]), name


def test_each_expression_is_asked_of_its_own_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefilter, "head_dtype", lambda *_: torch.float32)
    network = RelaNetwork(TINY).eval()
    regions = torch.randn(6, TINY.regions, TINY.channels)
    words, mask = torch.randn(3, 4, TINY.channels), torch.ones(3, 4, dtype=torch.bool)
    everywhere = torch.arange(6).expand(3, 6)
    whole = prefilter.teacher(network, regions, words, mask, everywhere)
    photos = torch.tensor([[0, 3], [5, 1], [2, 2]])
    some = prefilter.teacher(network, regions, words, mask, photos)
    torch.testing.assert_close(some, whole.gather(1, photos), atol=1e-4, rtol=1e-3)


def test_the_prefilters_teacher_ranks_photos_as_finely_as_a_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prefilter, "head_dtype", lambda *_: torch.bfloat16)
    network = RelaNetwork(TINY).eval()
    regions, words = torch.randn(8, TINY.regions, TINY.channels), torch.randn(1, 4, TINY.channels)
    mask = torch.ones(1, 4, dtype=torch.bool)
    logits = prefilter.teacher(network, regions, words, mask, torch.arange(8)[None])
    assert (logits != logits.bfloat16().float()).any()
    assert all(p.dtype == torch.float32 for p in network.head.parameters())


def test_expressions_are_of_the_kinds_that_the_recipe_names(shards: Shards) -> None:
    one = replace(RECIPE, kinds=("category",), crossed=0, absent=0)
    kinds = set(Sampler(shards, one, 4).batch(0).kinds)
    assert kinds == {"category"}
    with pytest.raises(ModelError, match="no kind of expression is called colours"):
        replace(RECIPE, kinds=("colours",))


def test_verdicts_are_lowered_to_the_prior_of_an_album(folder: Path, tmp_path: Path) -> None:
    start = Path(write_tiny_model(tmp_path / "start.safetensors"))
    plain = replace(
        RECIPES["mini-prefilter"], model=TINY, photos=12, steps=1, batch=4, teacher=(12, 16),
        prior_shift=0.0,
    )  # fmt: skip
    targets = []
    for shift in (0.0, 2.0):
        run = tmp_path / f"run-{shift}"
        run_recipe(replace(plain, prior_shift=shift), run, data=folder, start=start)
        lesson = torch.load(run / "prefilter.pt", weights_only=True)["lesson"]
        targets.append(lesson["target"].logit())
    torch.testing.assert_close(targets[0] - 2.0, targets[1], atol=1e-3, rtol=1e-3)


def test_a_small_first_run_does_not_spoil_the_photos_of_a_larger_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards_of, "PART", 4)
    render(tmp_path / "whole", "train", 10, 32, 1, workers=1)
    render(tmp_path / "grown", "train", 2, 32, 1, workers=1)
    small = open_shards(tmp_path / "grown")
    first = small.photo(0)[0].copy()
    with pytest.raises(ModelError, match="lacks 3 parts"):
        wait_for(tmp_path / "grown", 10, stall_s=0)  # the first part is there, but too short
    render(tmp_path / "grown", "train", 10, 32, 1, workers=1)
    render(tmp_path / "grown", "train", 3, 32, 1, workers=1)  # asks for less: nothing is lost
    wait_for(tmp_path / "grown", 10, stall_s=0)
    whole, grown = open_shards(tmp_path / "whole"), open_shards(tmp_path / "grown")
    assert grown.scenes == whole.scenes and len(grown) == 10
    for index in range(10):
        for a, b in zip(grown.photo(index), whole.photo(index), strict=True):
            assert np.array_equal(a, b), index
    assert np.array_equal(small.photo(0)[0], first)  # who has the short part open keeps it
    assert not list((tmp_path / "grown").glob(".part-*"))


def test_parts_of_any_length_give_each_scene_its_own_pixels(folder: Path, tmp_path: Path) -> None:
    # As older versions left them: a short part with others behind it.
    render(tmp_path, "train", 3, 64, 1, workers=1)
    shutil.copytree(folder / "part-00000000", tmp_path / f"part-{PART:08d}")
    mixed, alone = open_shards(tmp_path), open_shards(folder)
    assert len(mixed) == 3 + len(alone)
    for index in range(len(alone)):
        assert mixed.scenes[3 + index] == alone.scenes[index]
        assert np.array_equal(mixed.photo(3 + index)[0], alone.photo(index)[0])


def test_shards_of_an_older_version_are_refused(folder: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(folder, old)
    for path in old.glob("part-*/scenes.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for row in rows:
            for instance in row["instances"]:
                del instance["spots"]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ModelError, match="render them anew"):
        open_shards(old)


def test_training_is_in_bfloat16_only_where_the_processor_multiplies_it(
    shards: Shards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for able, wanted in (({"avx512_bf16": True}, True), ({"avx2": True}, False)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: able)
        for asked in (True, False):
            trainer = Trainer(replace(RECIPE, bf16=asked), shards, tmp_path / f"{wanted}-{asked}")
            assert trainer.bf16 == (asked and wanted)


def test_one_process_renders_and_others_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RANK", "1")
    recipe = replace(RECIPE, photos=4)
    found: list[Shards] = []
    other = threading.Thread(target=lambda: found.append(data_of(recipe, None, 1)))
    other.start()
    time.sleep(1)
    assert not found and not list(tmp_path.rglob("part-*"))  # it does not render itself
    folder = default_folder("train", recipe.config.input_size, first_photo(recipe.data_seed))
    render(folder, "train", recipe.photos, recipe.config.input_size, 1, 1)
    other.join(30)
    assert len(found[0]) == 4
    with pytest.raises(ModelError, match="lacks 2 parts"):
        wait_for(folder, PART + 1, stall_s=0)
