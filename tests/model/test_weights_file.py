import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from model import checkpoint, weights_file
from model.errors import WeightsError
from model.importing import import_checkpoint
from model.official.build import load_official
from tests.support.tiny_model import write_tiny_model

HTML = b"<!DOCTYPE html>\n<html><body>Google Drive can't scan this file</body></html>"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 3\n"


def test_equal_content_makes_equal_files_that_everybody_may_read(tmp_path: Path) -> None:
    tensors = {"b": torch.ones(3, 2), "a": torch.arange(4, dtype=torch.float16)}
    header = {f"note {k}": "ü \n" * k for k in range(12)}
    old = os.umask(0o022)
    try:
        for name in ("x", "y"):
            weights_file.write(tmp_path / name, tensors, dict(sorted(header.items(), key=hash)))
    finally:
        os.umask(old)
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o644
    with safe_open(tmp_path / "x", framework="pt") as file:
        assert file.metadata() == header
        assert all(torch.equal(file.get_tensor(n), value) for n, value in tensors.items())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x", "y"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (HTML, "a web page, not the file"),
        (POINTER, "git lfs pull"),
        (pickle.dumps({"model": {}}), "pickled PyTorch file.*referent models import"),
        (b"PK\x03\x04" + bytes(60), "pickled PyTorch file.*referent models import"),
        (b"", "it is empty"),
    ],
)
def test_a_file_that_is_no_weights_file_is_called_what_it_is(
    tmp_path: Path, content: bytes, said: str
) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    for load in (checkpoint.load, load_official):
        with pytest.raises(WeightsError, match=said) as refused:
            load(path)
        assert "truncated" not in str(refused.value)


def test_a_cut_file_is_called_truncated(tmp_path: Path) -> None:
    path = Path(write_tiny_model(tmp_path / "w.safetensors"))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(WeightsError, match="it is truncated, 5000 bytes"):
        checkpoint.load(path)


def test_a_web_page_is_not_imported_as_a_truncated_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "gres_swin_tiny.pth"
    path.write_bytes(HTML)
    with pytest.raises(WeightsError, match="a web page, not the file"):
        import_checkpoint(path, "rela-official-tiny", tmp_path / "models")
