"""Official checkpoints become weights files, or are refused with a clear word and no trace."""

from __future__ import annotations

import dataclasses
import os
import pickle
import shutil
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from model import importing, weights_file
from model.calibration import Calibration, path_beside
from model.errors import UnknownModel, WeightsError
from model.importing import import_checkpoint, import_official
from model.official.build import load_official, read_header
from model.official.keys import LANG_WEIGHT
from model.official.verifier import load_verifier
from tests.support.official_trace import HERE, case_config, official_weights, run_case

CONFIG = dataclasses.replace(case_config(HERE, "tiny_a"), input_size=96)


def checkpoint(path: Path, **changes: Any) -> Path:
    """Write what the official trainer writes, with other entries than the network's changed."""
    weights = OrderedDict(official_weights(HERE, "tiny_a"))
    for name, value in changes.items():
        if value is None:
            del weights[name]
        else:
            weights[name] = value
    trained = {
        "optimizer": {"state": {0: {"step": 3, "exp_avg": torch.zeros(2)}}, "param_groups": []},
        "scheduler": {"base_lrs": [1e-5], "last_epoch": 150000},
        "iteration": 149999,
    }
    torch.save({"model": weights, **trained}, path)
    return path


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unchanged checkpoint."""
    return checkpoint(tmp_path_factory.mktemp("official") / "a.pth")


@pytest.fixture(scope="module")
def imported(official: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What it becomes."""
    return bring(official, tmp_path_factory.mktemp("models"))


def bring(path: Path, folder: Path, **options: Any) -> Path:
    return import_checkpoint(path, "rela-official-tiny", folder, config=CONFIG, **options)


def nothing_written(folder: Path) -> bool:
    return not folder.exists() or not list(folder.iterdir())


def test_imported_network_computes_what_the_official_one_does(imported: Path) -> None:
    recorded = np.load(HERE / "tiny_a_c1.npz")
    with torch.no_grad():
        traced, _, _ = run_case(load_official(imported), recorded)
    for name in ("pred_masks", "nt_label", "pred_logits"):
        assert np.abs(traced[name].numpy() - recorded[name]).max() < 2e-4, name


def test_import_says_what_it_left_out_and_writes_a_card(tmp_path: Path) -> None:
    lines: list[str] = []
    extra = {
        "text_encoder.embeddings.position_ids": torch.arange(64)[None],
        "text_encoder.pooler.dense.weight": torch.zeros(768, 768),
    }
    path = checkpoint(tmp_path / "a.pth", **extra)
    done = import_official(
        path, "rela-official-tiny", tmp_path / "models", config=CONFIG, report=lines.append
    )
    assert {"text_encoder.embeddings.position_ids", "text_encoder.pooler.dense.weight"} <= set(
        done.ignored
    )
    assert any("window indices" in line for line in lines)
    card = done.card.read_text()
    assert "sha256" in card and "text_encoder.pooler.dense.weight" in card
    assert read_header(done.weights)["source"] == "a.pth"
    assert sorted(p.name for p in (tmp_path / "models").iterdir()) == [
        "rela-official-tiny.md",
        "rela-official-tiny.safetensors",
    ]


def test_word_weight_is_kept_or_left_as_the_official_loader_leaves_it(
    official: Path, imported: Path, tmp_path: Path
) -> None:
    stored = float(official_weights(HERE, "tiny_a")[LANG_WEIGHT])
    zero = bring(official, tmp_path / "zero", keep_lang_weight=False)
    for weights, expected in ((imported, stored), (zero, 0.0)):
        with safe_open(weights, framework="pt") as file:
            assert float(file.get_tensor("words.weight")) == pytest.approx(expected)
        assert f"{expected:.6g} in use" in weights.with_suffix(".md").read_text()


def test_names_of_distributed_training_and_bare_state_dicts_are_read(tmp_path: Path) -> None:
    weights = official_weights(HERE, "tiny_a")
    torch.save({f"module.{name}": value for name, value in weights.items()}, tmp_path / "a.pth")
    save_file(
        {name: value.contiguous() for name, value in weights.items()}, tmp_path / "b.safetensors"
    )
    for number, name in enumerate(("a.pth", "b.safetensors")):
        assert bring(tmp_path / name, tmp_path / str(number)).is_file()


def test_query_name_of_older_files_is_understood(tmp_path: Path) -> None:
    name = "sem_seg_head.predictor.query_feat.weight"
    old = {name.replace("query_feat", "static_query"): official_weights(HERE, "tiny_a")[name]}
    path = checkpoint(tmp_path / "a.pth", **{name: None}, **old)
    assert bring(path, tmp_path / "models").is_file()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.999])
def test_truncated_file_is_refused(official: Path, tmp_path: Path, share: float) -> None:
    whole = official.read_bytes()
    cut = tmp_path / "cut.pth"
    cut.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(WeightsError, match=r"cut\.pth cannot be read .*(truncated|empty)"):
        bring(cut, tmp_path / "models")
    assert nothing_written(tmp_path / "models")


class Malice:
    """Runs a command when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.proof}",)


@pytest.mark.parametrize("archive", [True, False])
def test_pickle_with_code_is_refused_and_not_run(tmp_path: Path, archive: bool) -> None:
    proof, path = tmp_path / "proof", tmp_path / "evil.pth"
    content = {"model": {"weight": torch.zeros(1)}, "iteration": Malice(proof)}
    torch.save(content, path, _use_new_zipfile_serialization=archive)
    with pytest.raises(WeightsError, match=r"evil\.pth holds code .*system.*nothing of it was run"):
        bring(path, tmp_path / "models")
    assert not proof.exists()
    assert nothing_written(tmp_path / "models")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")  # of a file made to harm
def test_plain_pickle_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    proof, path = tmp_path / "proof", tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps({"model": Malice(proof)}))
    with pytest.raises(WeightsError, match=r"evil\.pkl .* a pickle that PyTorch did not write"):
        bring(path, tmp_path / "models")
    assert not proof.exists()


def test_archive_that_unpacks_to_too_much_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "MAX_BYTES", 1 << 20)
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", bytes(2 << 20))
    with pytest.raises(WeightsError, match="unpacks to"):
        bring(tmp_path / "bomb.pth", tmp_path / "models")


def test_tensor_that_only_claims_to_be_large_is_refused_by_its_shape(tmp_path: Path) -> None:
    name = "sem_seg_head.predictor.minimap_embed.weight"
    path = checkpoint(tmp_path / "a.pth", **{name: torch.zeros(1).expand(10**12)})
    with pytest.raises(WeightsError, match=r"minimap_embed\.weight has shape \(1000000000000,\)"):
        bring(path, tmp_path / "models")


def test_other_network_is_refused_with_the_first_differences(tmp_path: Path) -> None:
    path = tmp_path / "resnet.pth"
    torch.save({"model": {"conv1.weight": torch.zeros(3), "fc.bias": torch.zeros(2)}}, path)
    with pytest.raises(WeightsError, match=r"missing backbone.* and \d+ more; is it a checkpoint"):
        bring(path, tmp_path / "models")
    assert nothing_written(tmp_path / "models")


def test_missing_and_unexpected_entries_are_named(tmp_path: Path) -> None:
    lost = "sem_seg_head.predictor.nt_embed.layers.1.bias"
    path = checkpoint(tmp_path / "a.pth", **{lost: None, "sem_seg_head.extra": torch.zeros(1)})
    with pytest.raises(WeightsError) as error:
        bring(path, tmp_path / "models")
    assert "missing no_target.layers.1.bias; unexpected sem_seg_head.extra" in str(error.value)


def test_size_of_the_other_released_network_is_suggested(
    official: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = case_config(HERE, "tiny_b")
    monkeypatch.setattr(importing, "OFFICIAL", {"rela-official-tiny": CONFIG})
    with pytest.raises(
        WeightsError, match=r"not fit tiny_b.*import it with --as rela-official-tiny"
    ):
        import_checkpoint(official, "rela-official-base", tmp_path / "models", config=other)


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    name = "sem_seg_head.predictor.minimap_embed.bias"
    path = checkpoint(tmp_path / "a.pth", **{name: torch.tensor([0.0, float("nan")])})
    with pytest.raises(WeightsError, match=r"minimap_embed\.bias holds numbers"):
        bring(path, tmp_path / "models")


def test_missing_file_and_unknown_name_are_named(official: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no checkpoint .*none\.pth"):
        bring(tmp_path / "none.pth", tmp_path / "models")
    with pytest.raises(UnknownModel, match="rela-official-tiny"):
        import_checkpoint(official, "rela-huge", tmp_path / "models")


def test_failed_write_leaves_nothing_behind(
    official: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(weights_file, "save_file", full)
    with pytest.raises(WeightsError, match="no space left"):
        bring(official, tmp_path / "models")
    assert nothing_written(tmp_path / "models")


def test_verifier_judges_photos_with_an_imported_network(imported: Path, tmp_path: Path) -> None:
    weights = Path(shutil.copy(imported, tmp_path))
    Calibration(bias=0.5, threshold=0.4).save(path_beside(weights))
    verifier = load_verifier(weights)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 96, 96, 3), dtype=np.uint8)
    words = verifier.read("the dog on the left")
    judged = verifier.judge(pixels, [words] * 3)
    assert [each.mask_logit().shape for each in judged] == [(1, 24, 24)] * 3
    (alone,) = verifier.judge(pixels[1:2], [words])
    assert torch.equal(alone.no_target, judged[1].no_target)
    assert verifier.calibration.threshold == 0.4
    assert verifier.judge(pixels[:0], []) == []
    assert verifier.fingerprint == load_verifier(weights).fingerprint


def test_calibration_of_other_weights_is_not_used_and_said_so(
    imported: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weights = Path(shutil.copy(imported, tmp_path))
    own = load_verifier(weights).fingerprint
    Calibration(threshold=0.4, fitted_to=own).save(path_beside(weights))
    assert load_verifier(weights).calibration.threshold == 0.4 and not caplog.text
    Calibration(threshold=0.4, fitted_to="0123456789abcdef").save(path_beside(weights))
    assert load_verifier(weights).calibration == Calibration()
    assert "referent calibrate" in caplog.text


def test_file_of_another_kind_is_no_verifier(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="referent models import"):
        load_verifier(path)
    path.write_bytes(b"half")
    with pytest.raises(WeightsError, match="cannot be read"):
        load_verifier(path)
