"""The paper's tables: equal conditions, rows that resume, pages that say what they are."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from model import checkpoint
from model.errors import ModelError, WeightsError
from model.network.rela import RelaNetwork
from referent.main import app
from tests.support.tiny_model import TINY
from tests.support.train_process import RECIPE
from training.ablating import rows, run, written
from training.ablating.begins import begin
from training.ablating.plan import Plan, PlanError, recipe_for
from training.ablating.rows import recipe_of
from training.ablating.tables import FULL, TABLES, VARIANTS, variants_of
from training.baselines.networks import BASELINES
from training.data.album import AlbumPlan, write_album
from training.data.batches import Pairs, Sampler
from training.data.shards import open_shards, render
from training.measuring.judging import PairScores
from training.recipes.ablate import ABLATE
from training.recipes.base import BASE
from training.recipes.recipe import LossWeights, Recipe

SMALL = replace(
    RECIPE, steps=2, warmup=1, losses=LossWeights(regions=0, dense=0, region_masks=0), start=""
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with the tiny network's configuration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REFERENT_HOME", raising=False)
    (tmp_path / "tiny.json").write_text(json.dumps(TINY.to_dict()))
    return tmp_path


def ablate(*arguments: str) -> tuple[int, str]:
    small = ("--model", "tiny.json", "--start", "random", "--steps", "2", "--batch", "4",
             "--photos", "12", "--measured", "4", "--workers", "1")  # fmt: skip
    result = CliRunner().invoke(app, ["ablate", *arguments, *small])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize("full", [ABLATE, BASE, SMALL], ids=["ablate", "base", "tiny"])
def test_every_row_of_every_table_can_be_built(full: Recipe) -> None:
    for table in TABLES.values():
        for name in variants_of(table):
            recipe = recipe_of(name, full, 3)
            assert recipe.seed == 3
            assert (recipe.steps, recipe.batch) == (full.steps, full.batch)
            with torch.device("meta"):  # shapes alone
                BASELINES.get(VARIANTS[name].baseline, RelaNetwork)(recipe.config)


def test_every_variant_is_in_a_table_and_every_row_is_a_variant() -> None:
    assert {v for table in TABLES.values() for v in variants_of(table)} == set(VARIANTS)


def test_rows_begin_with_the_same_numbers_and_train_on_the_same_batches(tmp_path: Path) -> None:
    trunk = tmp_path / "trunk.safetensors"
    checkpoint.save(RelaNetwork(TINY), trunk)
    begun = {}
    for name in VARIANTS:
        path = tmp_path / f"{name}.safetensors"
        build = BASELINES.get(VARIANTS[name].baseline, RelaNetwork)
        begin(recipe_of(name, SMALL, 5).config, TINY, trunk, 5, path, build)
        begun[name] = load_file(path)
    common = begun[FULL]
    for name, tensors in begun.items():
        shared = [k for k, v in tensors.items() if k in common and common[k].shape == v.shape]
        assert len(shared) > 50, name
        for key in shared:
            assert torch.equal(tensors[key], common[key]), (name, key)
    kept = load_file(trunk)
    assert all(torch.equal(v, kept[n]) for n, v in common.items() if n.startswith("backbone."))
    other = tmp_path / "other.safetensors"
    begin(TINY, TINY, trunk, 6, other)
    assert not torch.equal(load_file(other)["head.minimap.weight"], common["head.minimap.weight"])

    render(tmp_path / "shards", "train", 12, 64, 1, workers=1)
    shards = open_shards(tmp_path / "shards")
    recipes = [recipe_of(name, SMALL, 5) for name in VARIANTS if "one-target" not in name]
    batches = [Sampler(shards, r, r.config.regions_per_side).batch(1) for r in recipes]
    for batch in batches[1:]:
        assert batch.texts == batches[0].texts
        assert torch.equal(batch.pixels, batches[0].pixels)
        assert torch.equal(batch.masks, batches[0].masks)


def test_a_trunk_of_another_image_encoder_is_refused(tmp_path: Path) -> None:
    trunk = tmp_path / "trunk.safetensors"
    checkpoint.save(RelaNetwork(replace(TINY, swin=replace(TINY.swin, embed_dim=16))), trunk)
    with pytest.raises(WeightsError, match=r"trunk\.safetensors is not the one of rela-atom"):
        begin(TINY, TINY, trunk, 1, tmp_path / "out.safetensors")


def test_classic_training_asks_of_one_thing_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    render(tmp_path / "shards", "train", 12, 64, 1, workers=1)
    shards = open_shards(tmp_path / "shards")
    recipe = recipe_of("one-target", SMALL, 1)
    asked: list[int] = []
    add = Pairs.add

    def noted(self: Pairs, photo: int, text: str, kind: str, referents: frozenset[int]) -> None:
        asked.append(len(referents))
        add(self, photo, text, kind, referents)

    monkeypatch.setattr(Pairs, "add", noted)
    for step in range(4):
        batch = Sampler(shards, recipe, 4).batch(step)
        assert not batch.no_target.any() and batch.masks.flatten(1).any(1).float().mean() > 0.9
    assert len(asked) > 20 and set(asked) == {1}
    Sampler(shards, recipe_of(FULL, SMALL, 1), 4).batch(0)
    assert {0, 1} < set(asked)
    with pytest.raises(ModelError, match="not photographs"):
        replace(recipe, data="photos")


def test_tables_are_trained_measured_and_written_once(place: Path) -> None:
    code, output = ablate("figure6", "--out", "tables", "--seeds", "2")
    assert code == 0, output
    out = place / "tables"
    assert output.splitlines()[-1] == "tables/table-figure6.md"
    done = sorted(path.parent.name for path in out.glob("rows/*/figures.json"))
    assert done == ["full-1", "full-2", "one-target-1", "one-target-2"]
    content = json.loads((out / "table-figure6.json").read_text())
    alone, by_pixels, full = content["rows"]
    assert alone["runs"] == by_pixels["runs"] != full["runs"]  # one training, two rows
    assert [row["decided"] for row in content["rows"]] == ["classifier", "pixels", "classifier"]
    assert [run["seed"] for run in full["runs"]] == [1, 2]
    assert full["runs"][0]["steps"] == content["plan"]["recipe"]["steps"] == 2
    assert full["runs"][0]["classifier"]["samples"] > 20
    page = (out / "table-figure6.md").read_text()
    assert "by protocol paper" in page and "protocol gres480" in page
    assert "2 steps of 4 photos, the same draws" in page and "Seeds done: 1, 2" in page
    assert "| 3 | ReLA | – |" in page and " ± " in page
    assert "gIoU by kind of expression" in page
    with Image.open(out / "table-figure6.png") as picture:
        assert len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 10
    shown = re.findall(r"\]\((rows/.*?)\)", page)
    assert shown == ["rows/one-target-1/answers.png", "rows/full-1/answers.png"]
    assert all(Image.open(out / name).width > 600 for name in shown)
    assert not list(out.glob("rows/*/last.pt"))

    before = {path: path.stat().st_mtime_ns for path in out.glob("rows/*/figures.json")}
    (out / "rows" / "one-target-2" / "figures.json").unlink()
    assert ablate("figure6", "--out", "tables", "--seeds", "2")[0] == 0
    after = {path: path.stat().st_mtime_ns for path in out.glob("rows/*/figures.json")}
    assert [p.parent.name for p in after if after[p] != before[p]] == ["one-target-2"]


def test_the_same_command_takes_a_folder_in_grefcocos_form(place: Path) -> None:
    list(write_album(AlbumPlan(photos=8, seed=2, megapixels=0.01), place / "set"))
    path = place / "set" / "grefs(unc).json"
    refs = json.loads(path.read_text())
    half = sorted({ref["image_id"] for ref in refs})[:4]
    for ref in refs:
        ref["split"] = "train" if ref["image_id"] in half else "val"
    path.write_text(json.dumps(refs))
    code, output = ablate("6", "--data", "grefcoco:set", "--out", "tables")
    assert code == 0, output
    content = json.loads((place / "tables" / "table-6.json").read_text())
    assert content["plan"]["recipe"]["data"] == "grefcoco"
    wanted = len([1 for ref in refs if ref["split"] == "val" for _ in ref["sentences"]])
    done = {row["label"]: row["runs"] for row in content["rows"] if row["runs"]}
    assert list(done) == ["VLT", "LAVT", "ReLA-50pix", "ReLA"]
    assert done["ReLA-50pix"] == done["ReLA"] != done["LAVT"]
    assert all(runs[0]["classifier"]["samples"] == wanted for runs in done.values())
    assert all(runs[0]["classifier"]["target_ciou"] is not None for runs in done.values())
    page = (place / "tables" / "table-6.md").read_text()
    assert "| 1 | MattNet | 41.15 | – |" in page and "photos drawn" not in page
    assert "Not run yet" not in page


def test_rows_under_other_conditions_are_refused(place: Path) -> None:
    run.settle(Plan("synthetic", SMALL), place / "tables")
    with pytest.raises(PlanError, match=r"begun with recipe.steps 2, not 3: rows under other"):
        run.settle(Plan("synthetic", replace(SMALL, steps=3)), place / "tables")
    with pytest.raises(PlanError, match="photos 200, not 10"):
        run.settle(Plan("synthetic", SMALL, photos=10), place / "tables")
    (place / "tables" / "plan.json").write_text("{")
    with pytest.raises(PlanError, match=r"plan\.json cannot be read"):
        run.settle(Plan("synthetic", SMALL), place / "tables")


def test_minutes_become_steps_once(place: Path) -> None:
    shards = place / "runs/shards"
    plan = Plan("synthetic", replace(SMALL, photos=12), photos=4, minutes=0.001)
    data, _ = run.open_data(plan, 1)
    assert shards.is_dir()
    timed = run.in_steps(plan, 10.0, data, None, "cpu")
    assert timed.recipe.steps > run.in_steps(plan, 0.0, data, None, "cpu").recipe.steps == 1
    kept = run.settle(timed, place / "tables")
    assert run.settle(plan, place / "tables").recipe.steps == kept.recipe.steps
    with pytest.raises(PlanError, match="minutes"):
        run.settle(replace(plan, minutes=3.0), place / "tables")


def test_a_row_that_another_process_trains_is_left_to_it(place: Path) -> None:
    with rows.claimed(rows.folder_of(place / "tables", FULL, 1)) as mine:
        assert mine
        code, output = ablate("figure6", "--out", "tables")
    assert code == 1 and "the same command goes on" in output
    page = (place / "tables" / "table-figure6.md").read_text()
    assert "Not run yet: ReLA." in page
    assert [path.parent.name for path in place.glob("tables/rows/*/figures.json")] == [
        "one-target-1"
    ]


def test_a_stopped_row_goes_on_and_ends_as_if_it_had_not(place: Path) -> None:
    plan = Plan("synthetic", replace(SMALL, photos=12, steps=4), photos=4)
    data, measured = run.open_data(plan, 1)

    def train(out: str, stop_after: int) -> bool:
        steps = []
        return rows.train_row(
            "rla-region", plan.recipe, 1, data, measured, place / out,
            progress=lambda p: steps.append(p.step), should_stop=lambda: len(steps) >= stop_after,
        )  # fmt: skip

    assert train("whole", 99)
    assert not train("parts", 2)
    assert rows.figures_of(place / "parts", "rla-region", 1) is None
    assert train("parts", 99)
    name = "rows/rla-region-1/rela-atom-rla-region.safetensors"
    one, two = load_file(place / "whole" / name), load_file(place / "parts" / name)
    assert all(torch.equal(value, two[key]) for key, value in one.items())


def test_pixel_rows_are_decided_by_fifty_pixels() -> None:
    area = np.array([0, 49, 50, 51])
    scores = PairScores(np.full(4, -9.0), area, area, area, area)
    assert (rows.by_pixels(scores).no_target_logit > 0).tolist() == [True, True, False, False]


def test_what_goes_against_the_paper_is_said() -> None:
    table = TABLES["6"]

    def found(n_acc: float, decided: str) -> dict[str, object]:
        return {decided: {"n_acc": n_acc, "t_acc": 0.9, "by_kind": {}}}

    *_, fifty, rela = table.rows
    for better, phrase in ((0.6, "the other way round"), (0.2, "as in the paper")):
        measured = [
            written.Measured(fifty, (found(better, "pixels"),)),
            written.Measured(rela, (found(0.4, "classifier"),)),
        ]
        said = written.trend(table, measured)
        assert phrase in said and "the paper's -6.41" in said


def test_an_unknown_table_or_data_set_is_named(place: Path) -> None:
    with pytest.raises(PlanError, match="no table is called 9; known: 2, 3, 4"):
        run.named(["9"])
    assert run.named(["all"]) == list(TABLES.values())
    with pytest.raises(PlanError, match=r"nowhere is no data set: give synthetic, or grefcoco:DIR"):
        recipe_for("grefcoco:nowhere")
