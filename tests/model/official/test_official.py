"""The released networks compute what the official code computes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from model.errors import ModelError, UnknownModel
from model.network.masked_decoder import blocked_by, sine_positions
from model.network.swin import SwinBlock, shift_mask
from model.official.build import empty_network
from model.official.config import OFFICIAL, OfficialConfig, official_config
from model.official.keys import lang_weight_as_loaded, rename_all
from model.official.network import OfficialRela
from tests.support.official_trace import (
    HERE,
    SHARED,
    attention_bits,
    built,
    case_config,
    cases,
    official_weights,
    run_case,
)

CASES = cases(HERE)
SHARED_CASES = cases(SHARED) if SHARED.is_dir() else []
TIMES = 6
"""How often the error of float32 itself a tensor may differ by; the oracle recommends 5 to 10."""


def about(folder: Path, config: str, case: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / f"{config}.json").read_text())["cases"][case]
    return record


def compare(folder: Path, config: str, case: str, *, flips: int) -> None:
    """Compare every recorded tensor; ``flips``: bits of the masks that rounding may turn."""
    recorded, facts = np.load(folder / f"{config}_{case}.npz"), about(folder, config, case)
    with torch.no_grad():
        traced, _, losses = run_case(built(folder, config), recorded)
    turned = 0
    missed = set(facts["tensors"]) - set(traced)
    assert not missed, f"nothing was compared with {missed}"
    for name, form in facts["tensors"].items():
        ours = traced[name].numpy()
        assert list(ours.shape) == form["shape"], name
        if f"{name}.packed" in recorded:
            bits = np.unpackbits(recorded[f"{name}.packed"], axis=-1)
            turned += int((ours != bits[..., : ours.shape[-1]].astype(bool)).sum())
            continue
        if name.startswith("dec.attn_mask"):
            continue  # too large to be recorded at 480 x 480
        theirs = recorded[name] if name in recorded else recorded[f"{name}.sample"]
        ours = ours if name in recorded else ours.flatten()[:: form["stride"]]
        noise = facts["float32_minus_float64_max_mean"][name][0]
        error = np.abs(ours - theirs)
        # A turned bit moves one of a hundred regions by 1e-3 to 1e-2 and, through their mutual
        # attention, the others by a little: compare quantiles from there on.
        late = flips and name.startswith(("dec.", "all_", "pred_", "nt_"))
        worst = np.quantile(error, 0.9) if late else error.max()
        limit = max((4 if late else 1) * TIMES * noise, 1.2e-6)
        assert worst <= limit, f"{name}: {worst} against a noise of {noise}"
    assert turned <= flips * 8
    for name, value in losses.items():
        assert float(value) == pytest.approx(facts["loss"][name], rel=1e-4 if flips else 5e-6), name


@pytest.mark.parametrize(("config", "case"), CASES)
def test_every_recorded_tensor_is_met(config: str, case: str) -> None:
    compare(HERE, config, case, flips=0)


@pytest.mark.long
@pytest.mark.parametrize(("config", "case"), SHARED_CASES)
def test_every_tensor_of_the_full_oracle_is_met(config: str, case: str) -> None:
    compare(SHARED, config, case, flips=4 if case == "c480" else 0)


def compare_in_double_precision(folder: Path, config: str, case: str, tolerance: float) -> None:
    recorded = np.load(folder / f"{config}_{case}.npz")
    with torch.no_grad():
        traced, _, losses = run_case(built(folder, config).double(), recorded)
    for name in ("pred_masks", "nt_label", "pred_logits"):
        assert np.abs(traced[name].numpy() - recorded[f"f64.{name}"]).max() <= tolerance, name
    exact = about(folder, config, case).get("loss_float64")
    for name in ("mask_ce", "minimap_ce", "nt_ce", "loss_mask_weighted") if exact else ():
        assert float(losses[name]) == pytest.approx(exact[name], rel=1e-7), name


@pytest.mark.parametrize(("config", "case"), CASES)
def test_double_precision_agrees_to_ten_digits(config: str, case: str) -> None:
    compare_in_double_precision(HERE, config, case, 1e-10)


@pytest.mark.long
@pytest.mark.parametrize(("config", "case"), SHARED_CASES)
def test_double_precision_agrees_with_the_full_oracle(config: str, case: str) -> None:
    compare_in_double_precision(SHARED, config, case, 1e-5 if case == "c480" else 1e-10)


@pytest.mark.parametrize("case", ["c1", "c2"])
def test_gradient_norms_of_the_official_loss_are_met(case: str) -> None:
    recorded, facts = np.load(HERE / f"tiny_a_{case}.npz"), about(HERE, "tiny_a", case)
    weights = official_weights(HERE, "tiny_a")
    network = built(HERE, "tiny_a").requires_grad_(True)
    _, _, losses = run_case(network, recorded)
    losses["loss_mask_weighted"].backward()
    renamed = rename_all(weights)
    gradients = {name: value.grad for name, value in network.named_parameters()}
    ours: dict[str, float] = {}
    for name, official in renamed.official.items():
        gradient = gradients[name]
        assert gradient is not None, name
        ours[official] = ours.get(official, 0.0) + float(gradient.double().square().sum())
    largest = max(facts["grad_l2"].values())
    assert set(facts["grad_l2"]) <= set(ours)
    for official, norm in facts["grad_l2"].items():
        assert ours[official] ** 0.5 == pytest.approx(norm, rel=2e-3, abs=1e-5 * largest), official


@pytest.mark.parametrize("config", ["tiny_a", "tiny_b", "swin_tiny", "swin_base"])
def test_official_names_fill_the_network_without_remainder(config: str) -> None:
    listed = json.loads((HERE / f"keys_{config}.json").read_text())
    official = {name: torch.empty(s, device="meta") for name, s in listed["state_dict"].items()}
    renamed = rename_all(official)
    network = empty_network(case_config(HERE, config))
    ours = {name: value.shape for name, value in network.state_dict().items()}
    assert {name: value.shape for name, value in renamed.tensors.items()} == ours
    assert set(renamed.ignored) == set(listed["dtypes_other_than_float32"])
    assert sum(p.numel() for p in network.parameters()) == listed["parameter_count"]


def test_recipe_gives_the_weights_that_were_recorded() -> None:
    expected = json.loads((HERE / "weights_check.json").read_text())
    for config in ("tiny_a", "tiny_b"):
        digest = hashlib.sha256()
        for value in official_weights(HERE, config).values():
            if value.is_floating_point():
                digest.update(value.numpy().astype("<f4").tobytes())
        assert digest.hexdigest() == expected[config]["sha256"]


@pytest.mark.parametrize("config", ["tiny_a", "tiny_b"])
def test_word_weight_of_zero_gives_the_official_evaluation(config: str) -> None:
    renamed = rename_all(official_weights(HERE, config))
    lang_weight_as_loaded(renamed)
    network = OfficialRela(case_config(HERE, config)).eval()
    network.load_state_dict(renamed.tensors)
    recorded, zero = np.load(HERE / f"{config}_c1.npz"), np.load(HERE / "lang_weight_zero.npz")
    with torch.no_grad():
        traced, _, _ = run_case(network, recorded)
    for name in ("pred_logits", "pred_masks", "nt_label"):
        expected = zero[f"{config}_c1.{name}"]
        assert np.abs(traced[name].numpy() - expected).max() <= 1e-4 * np.abs(expected).max() + 1e-6
        assert not np.allclose(expected, recorded[name], atol=1e-4), "the weight makes a difference"


def test_a_photo_is_judged_alike_alone_and_in_a_batch() -> None:
    network = built(HERE, "tiny_a")
    recorded = np.load(HERE / "tiny_a_c2.npz")
    tokens, mask = (torch.from_numpy(recorded[f"lang_{key}"]) for key in ("tokens", "mask"))
    pixels = torch.from_numpy(recorded["image"])
    with torch.no_grad():
        words = network.read(tokens, mask)
        both = network(pixels, words, mask)
        for row in range(2):
            one = slice(row, row + 1)
            alone = network(pixels[one], words[one], mask[one])
            assert torch.allclose(alone.masks, both.masks[one], atol=1e-3)
            assert torch.allclose(alone.no_target, both.no_target[one], atol=1e-5)


@pytest.mark.parametrize("size", [(33, 97), (32, 32), (65, 40), (200, 31)])
def test_any_image_size_is_padded_and_judged(size: tuple[int, int]) -> None:
    network = built(HERE, "tiny_a")
    pixels = torch.randint(0, 256, (2, 3, *size), generator=torch.Generator().manual_seed(1))
    tokens, mask = torch.tensor([[101, 5, 102, 0]] * 2), torch.tensor([[1, 1, 1, 0]] * 2)
    with torch.no_grad():
        out = network(pixels.to(torch.uint8), network.read(tokens, mask), mask)
    padded = [-(-side // 32) * 32 for side in size]
    assert out.masks.shape == (2, 2, padded[0] // 4, padded[1] // 4)
    assert torch.isfinite(out.masks).all()


def test_region_masks_make_up_the_mask() -> None:
    network = built(HERE, "tiny_a")
    recorded = np.load(HERE / "tiny_a_c1.npz")
    with torch.no_grad():
        _, out, _ = run_case(network, recorded)
    weighed = torch.einsum("bqa,bqhw->bahw", out.minimap, out.region_masks())
    assert torch.allclose(weighed, out.masks, atol=1e-3)


def test_a_region_with_an_empty_mask_may_look_anywhere() -> None:
    logits = torch.full((1, 2, 3, 3), -1.0)
    logits[0, 1, 0, 0] = 1.0
    blocked = blocked_by(logits)
    assert not blocked[0, 0, 0].any()
    assert blocked[0, 0, 1].sum() == 8


def test_shift_mask_parts_what_the_shift_joined() -> None:
    mask = shift_mask(4, 4, 2, 1, like=torch.zeros(1))
    assert mask.shape == (4, 1, 4, 4)
    assert (mask[0] == 0).all(), "the first window lies inside the map"
    assert (mask[3] == -100).sum() == 12, "in the last window each token comes from elsewhere"


def test_swin_shifts_windows_even_on_a_map_that_one_window_covers() -> None:
    torch.manual_seed(0)
    shifted = SwinBlock(dim=8, heads=2, side=4, shift=2, mlp_ratio=1.0, drop_path=0.0)
    plain = SwinBlock(dim=8, heads=2, side=4, shift=0, mlp_ratio=1.0, drop_path=0.0)
    plain.load_state_dict(shifted.state_dict())
    x = torch.randn(1, 3, 3, 8)
    assert not torch.allclose(shifted(x), plain(x), atol=1e-5)


def test_sine_positions_put_rows_before_columns() -> None:
    code = sine_positions((2, 3), 8, like=torch.zeros(1))
    assert code.shape == (8, 2, 3)
    assert torch.equal(code[:4, 0, 0], code[:4, 0, 2])
    assert torch.equal(code[4:, 0, 0], code[4:, 1, 0])


def test_first_attention_mask_comes_from_the_queries_alone() -> None:
    network = built(HERE, "tiny_a")
    features = torch.randn(1, 64, 24, 24)
    traced = {"mask_features": features, "multi_scale0": torch.zeros(1, 64, 3, 3)}
    with torch.no_grad():
        assert attention_bits(network, traced, 0).shape == (8, 100, 9)


def test_official_squash_gives_the_official_pixels() -> None:
    from model.official.verifier import official_pixels

    recorded = np.load(HERE / "mapper.npz")
    ours = official_pixels(Image.fromarray(recorded["image_uint8_hwc"]), 96)
    assert np.array_equal(ours.transpose(2, 0, 1), recorded["target96.image"])


def test_unknown_released_network_is_named() -> None:
    with pytest.raises(UnknownModel, match="rela-official-base"):
        official_config("rela-official-huge")


def test_configuration_survives_json() -> None:
    for config in OFFICIAL.values():
        assert OfficialConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(ModelError, match="import the checkpoint again"):
        OfficialConfig.from_dict({"name": "x"})
