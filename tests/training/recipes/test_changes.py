from dataclasses import replace
from pathlib import Path

import pytest

from model.build import config_of
from training.learning.session import RECIPES
from training.recipes.changes import RecipeError, changed, names, parsed, read

MINI = RECIPES["mini"]


def test_everything_that_a_recipe_holds_can_be_set_by_name(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text(
        'model = "rela-tiny"\nbatch = 4\nnouns = [0, 3]\n[losses]\ndice = 0\n'
        "[model.swin]\ndrop_path = 0.1\n".replace("[model.swin]\n", '["model.swin"]\n')
    )
    found = changed(MINI, read(tmp_path / "my.toml"))
    wanted = config_of("rela-tiny")
    assert found.config == replace(wanted, swin=replace(wanted.swin, drop_path=0.1))
    assert found == replace(
        MINI, model=found.config, batch=4, nouns=(0, 3), losses=replace(MINI.losses, dice=0.0)
    )
    settings = ["losses.dice=0", "optimizer.lr=3e-5", "bf16=false", 'kinds=["colour"]', "stage=all",
                "model.rla_layers=1", "model.rough_layers=1"]  # fmt: skip
    found = changed(MINI, parsed(settings))
    assert found == replace(
        MINI, losses=replace(MINI.losses, dice=0.0), learning_rate=3e-5, bf16=False,
        kinds=("colour",), model=replace(config_of("rela-mini"), rla_layers=1, rough_layers=1),
    )  # fmt: skip
    assert changed(MINI, {}) is MINI


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_field_of_every_recipe_takes_its_own_value(recipe: str) -> None:
    of = replace(RECIPES[recipe], model=RECIPES[recipe].network)
    for name in names(of):
        value = of
        for part in name.split("."):
            value = getattr(value, part)
        if name not in ("model", "model.swin", "model.text", "losses"):
            assert changed(of, {name: value}) == of, name


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("losses.dise=0", r"did you mean losses\.dice"),
        ("loses.dice=0", r"did you mean losses\.dice"),
        ("learningrate=1", r"did you mean learning_rate"),
        ("model.rla_layer=1", r"did you mean model\.rla_layers"),
        ("batch.size=1", r"did you mean batch"),
        ("zzz=1", r"no recipe holds 'zzz'; it has model, "),
        ("losses.dice=much", r"losses\.dice takes float, not 'much'"),
        ("batch=1.5", r"batch takes int, not 1\.5"),
        ("bf16=1", r"bf16 takes bool"),
        ("optimizer=sgd", r"optimizer is one of adamw, muon, not 'sgd'"),
        ("nouns=[1]", r"nouns takes tuple\[int, int\], not \[1\]"),
        ("ema=2", r"ema = 2: recipe: ema must lie in 0 to 1"),
        ("losses", "--set takes NAME=VALUE"),
    ],
)
def test_what_cannot_be_set_is_refused_with_what_can(setting: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        changed(MINI, parsed([setting]))


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"none\.toml is no recipe"):
        read(tmp_path / "none.toml")
