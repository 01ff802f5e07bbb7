"""The three lines of Python, and the page that shows them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import referent
from model.asking import LateFusion, Network
from model.build import load_predictor
from model.calibration import Calibration
from model.errors import ExpressionError, PhotoError
from model.network.preprocess import to_pixels
from model.official.verifier import load_verifier
from referent import Answer, Referent
from tests.support.official_trace import small_early_fusion
from tests.support.tiny_model import TINY, write_tiny_model
from training.drawing.scenes import make_photo

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/python.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return Image.fromarray(make_photo(3, "val", 200, 120)[0])


@pytest.fixture(scope="module")
def asked(photo: Image.Image) -> Referent:
    made = Referent("rela-mini")
    made.set_image(photo)
    return made


def test_the_page_runs_as_it_stands(
    photo: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    photo.save("beach.jpg")
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 4
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "docs/python.md", "exec"), names)  # noqa: S102 - the page itself
    answer = names["answer"]
    assert isinstance(answer, Answer) and answer.mask.shape == (120, 200)
    printed = capsys.readouterr().out
    assert referent.__version__ in printed and str(answer.target) in printed


def test_an_answer_is_what_the_predictor_says(asked: Referent, photo: Image.Image) -> None:
    predictor = load_predictor("rela-mini")
    records = predictor.encode(to_pixels(photo, predictor.input_size)[None])
    expressions = ["the tree", "two dogs", "a person on the left"]
    for expression, answer in zip(expressions, asked.ask(expressions), strict=True):
        judgement = predictor.judge(records["tokens"], predictor.read([expression]))
        p = 1 - predictor.calibration.confidence(judgement.no_target_logit, shifted=False)[0]
        assert answer.p_no_target == pytest.approx(p, abs=1e-9)
        assert answer.target == (p <= 0.5)
        wanted = predictor.render(records["masks"], judgement, 200, 120, accepted=answer.target)
        assert np.array_equal(answer.mask, wanted.array) and answer.rle == wanted.rle
        assert np.array_equal(answer.minimap.ravel(), judgement.minimap[0])
        assert answer.words[0] == "[CLS]" and answer.words[-1] == "[SEP]"


def test_the_paper_names_hold_what_the_network_computed(asked: Referent) -> None:
    answer = asked.ask("the tree on the left")
    config = load_predictor("rela-mini").config
    n, side = config.regions, config.input_size // 4
    assert answer.region_masks.shape == (n, side, side)
    assert answer.minimap.shape == (config.regions_per_side,) * 2
    assert answer.A_l is not None and answer.A_l.shape == (n, len(answer.words))
    assert np.allclose(answer.A_l.sum(1), 1, atol=1e-5)
    assert answer.A_ri is not None and answer.A_ri.shape == (n, side // 2, side // 2)
    assert np.allclose(answer.A_ri.sum((1, 2)), 1, atol=1e-5)


@pytest.mark.parametrize(("ria", "rla"), [("paper", "both"), ("hard-decoder", "region")])
def test_attention_of_other_forms_is_theirs_or_none(tmp_path: Path, ria: str, rla: str) -> None:
    from dataclasses import replace

    config = replace(TINY, ria=ria, rla=rla, rla_layers=1)
    weights = write_tiny_model(tmp_path / "w.safetensors", config=config)
    seen = LateFusion(load_predictor(weights)).encode([Image.new("RGB", (40, 30), "red")])
    (said,) = seen.judge([(0, "a dog")])
    assert (said.word_attention is None) == (rla == "region")
    if said.region_attention is None:
        assert ria == "hard-decoder"
    else:
        assert np.allclose(said.region_attention.sum((1, 2)), 1, atol=1e-5)


def test_word_attention_is_what_the_layer_mixes_words_by(asked: Referent) -> None:
    layer = load_predictor("rela-mini").network.head.layers[-1]
    torch.manual_seed(0)
    c = 128
    queries, words = torch.randn(1, 64, c), torch.randn(1, 6, c)
    mask = torch.tensor([[True] * 5 + [False]])
    weights = layer.weights(queries, words, mask)  # (1, heads, N, T)
    values = words.unflatten(-1, (layer.word_heads, -1)).transpose(1, 2)
    mixed = (weights @ values).transpose(1, 2).flatten(2)
    torch.testing.assert_close(mixed, layer.attend(queries, words, mask), atol=1e-5, rtol=1e-4)


def test_the_albums_prior_is_applied_only_where_it_is_asked_for(photo: Image.Image) -> None:
    made = Referent("rela-mini")
    made.network.calibration = Calibration(prior_shift=2.0)
    made.set_image(photo)
    alone = made.ask("two chairs").p_no_target
    made.album_prior = True
    shifted = made.ask("two chairs").p_no_target
    odds = [np.log(p / (1 - p)) for p in (alone, shifted)]
    assert odds[1] - odds[0] == pytest.approx(2.0, abs=1e-6)


def test_photos_of_any_kind_are_set_and_others_refused(
    asked: Referent, photo: Image.Image, tmp_path: Path
) -> None:
    photo.save(tmp_path / "a.png")
    masks_of = []
    for image in (tmp_path / "a.png", str(tmp_path / "a.png"), photo, np.asarray(photo)):
        asked.set_image(image)
        masks_of.append(asked.ask("the tree").mask_logit)
    assert all(np.array_equal(masks_of[0], each) for each in masks_of[1:])
    with pytest.raises(PhotoError, match=r"\(H, W, 3\) uint8"):
        asked.set_image(np.zeros((4, 4), np.float32))
    with pytest.raises(PhotoError, match="nowhere"):
        asked.set_image(tmp_path / "nowhere.jpg")
    with pytest.raises(PhotoError, match="set_image first"):
        Referent("rela-mini").ask("a dog")
    with pytest.raises(ExpressionError):
        asked.ask("")


def test_a_released_network_is_asked_alike(photo: Image.Image) -> None:
    name = "rela-official-tiny:random-1"
    made = Referent(name)
    made.set_image(photo)
    answer = made.ask("the tree")
    verifier = load_verifier(name)
    words = verifier.read("the tree")
    (wanted,) = verifier.judge(verifier.pixels_of(photo)[None], [words])
    assert made.network.fingerprint == verifier.fingerprint
    (said,) = made.network.encode([photo]).judge([(0, "the tree")])
    assert said.no_target_logit == pytest.approx(float(wanted.no_target_logit()[0]), abs=1e-5)
    assert np.array_equal(said.mask_logit, wanted.mask_logit()[0].numpy())
    assert np.array_equal(said.filters, wanted.filters[0].numpy())
    regions = verifier.config.regions
    assert answer.minimap.shape == (round(regions**0.5),) * 2
    assert answer.region_masks.shape == (regions, *said.mask_logit.shape)
    assert answer.A_l is not None and answer.A_l.shape == (regions, len(answer.words))
    assert answer.A_ri is not None and np.allclose(answer.A_ri.sum((1, 2)), 1, atol=1e-4)
    assert said.render(200, 120, accepted=False).area == 0


@pytest.mark.parametrize("kind", ["late", "early"])
def test_every_network_encodes_judges_and_renders(kind: str, tmp_path: Path) -> None:
    # Two photos of other shapes, two expressions: each answer is that of its own pair.
    network: Network
    if kind == "late":
        network = LateFusion(load_predictor(write_tiny_model(tmp_path / "w.safetensors")))
    else:
        network = small_early_fusion()
    photos = [Image.new("RGB", (40, 30), "red"), Image.new("RGB", (20, 60), "blue")]
    pairs = [(0, "a dog"), (1, "a dog"), (1, "the red ball on the left")]
    said = network.encode(photos).judge(pairs)
    for (photo, expression), one in zip(pairs, said, strict=True):
        (alone,) = network.encode([photos[photo]]).judge([(0, expression)])
        assert one.no_target_logit == pytest.approx(alone.no_target_logit, abs=1e-4)
        assert np.allclose(one.mask_logit, alone.mask_logit, atol=1e-3)
        assert np.allclose(one.minimap, alone.minimap, atol=1e-4)
        assert one.filters.shape[0] == one.minimap.size == len(one.region_masks)
        mask = one.render(*photos[photo].size)
        assert mask.array.shape == photos[photo].size[::-1]
        assert one.render(7, 5, accepted=False).area == 0
    assert not np.array_equal(said[0].mask_logit, said[1].mask_logit)
    assert network.encode(photos).judge([]) == []


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    import os

    environment = {**os.environ, "PYTHONPATH": ""}
    if "editable" not in str(referent.__file__):
        environment["PYTHONPATH"] = f"{folder}:{ROOT}"  # the folder first, as Python has a script's
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )


def test_a_file_in_the_place_of_one_of_our_packages_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("class Mine: pass\n")
    clash = run(tmp_path, "-c", "from referent import Referent")
    assert clash.returncode == 1
    assert "model.py has the name of a package of Referent" in clash.stderr
    # Where nobody else's code runs, ours is found.
    shown = run(tmp_path, "-m", "referent.main", "models", "list", "--json")
    assert shown.returncode == 0, shown.stderr
    assert '"rela-mini"' in shown.stdout
    version = run(
        ROOT, "-c", "import referent, sys; print(referent.__version__, 'torch' in sys.modules)"
    )
    assert version.stdout.split() == [referent.__version__, "False"]
