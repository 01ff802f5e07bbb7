"""Official ReLA checkpoints (`.pth`) into weights files of our own.

A checkpoint from the internet is untrusted: it is a zip archive with a pickle in it.  Only the
restricted unpickler of ``torch.load(weights_only=True)`` ever reads it, sizes are bounded before
anything is allocated, every entry is compared with the network that it is to become, and the result
appears under its name whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from model import weights_file
from model.errors import WeightsError
from model.official.build import FORMAT, empty_network
from model.official.config import OFFICIAL, OfficialConfig, official_config
from model.official.keys import LANG_WEIGHT, Renamed, lang_weight_as_loaded, rename_all
from model.replacing import replacing

MAX_BYTES = 16 << 30
"""What an archive may unpack to: four times a base network with its optimizer."""
_SHOWN = 5


@dataclass(frozen=True)
class Imported:
    """What an import made, for the person who asked for it."""

    weights: Path
    card: Path
    tensors: int
    ignored: dict[str, str]
    """Name in the file -> why it was left out."""
    lang_weight: float
    """The value in use."""
    stored_lang_weight: float
    """The value in the file."""


def import_checkpoint(
    path: Path,
    as_name: str,
    destination: Path,
    keep_lang_weight: bool = True,
    *,
    config: OfficialConfig | None = None,
    report: Callable[[str], None] = lambda _line: None,
) -> Path:
    """Import an official checkpoint; see ``import_official`` for what it returns in full.

    Args:
        path: the official ``.pth``, or a safetensors file with the same names.
        as_name: ``rela-official-tiny`` or ``rela-official-base``.
        destination: folder for ``NAME.safetensors`` and the model card ``NAME.md``.
        keep_lang_weight: use the word weight of the file, as it was in memory while training.
            False uses 0, which is what the official loader leaves of it, see the card.
        config: other sizes than those of ``as_name``.
        report: is given a line of text for each step and for each kind of ignored entry.
    Returns:
        The weights file.
    Raises:
        UnknownModel: ``as_name`` is no released network.
        WeightsError: the file is missing, truncated, holds code, or belongs to another network;
            nothing was written.
    """
    done = import_official(
        path, as_name, destination, keep_lang_weight, config=config, report=report
    )
    return done.weights


def import_official(
    path: Path,
    as_name: str,
    destination: Path,
    keep_lang_weight: bool = True,
    *,
    config: OfficialConfig | None = None,
    report: Callable[[str], None] = lambda _line: None,
) -> Imported:
    """Import an official checkpoint and say what was done; arguments as ``import_checkpoint``."""
    path, destination = Path(path), Path(destination)
    config = config or official_config(as_name)
    report(f"reading {path}")
    renamed = rename_all(read_state_dict(path))
    check(renamed, config, path)
    stored = float(renamed.tensors["words.weight"])
    if not keep_lang_weight:
        lang_weight_as_loaded(renamed)
    report(f"{len(renamed.tensors)} tensors fit {as_name}")
    for reason, names in _by_reason(renamed.ignored).items():
        report(f"ignored {len(names)} entries ({reason}), such as {names[0]}")
    used = float(renamed.tensors["words.weight"])
    report(f"{LANG_WEIGHT}: {stored:.6g} in the file, {used:.6g} in use")

    weights, card = destination / f"{as_name}.safetensors", destination / f"{as_name}.md"
    header = {
        "format": FORMAT,
        "config": json.dumps({**config.to_dict(), "name": as_name}),
        "source": path.name,
        "source_sha256": _sha256(path),
        "lang_weight": "as trained" if keep_lang_weight else "as the official loader leaves it",
    }
    done = Imported(weights, card, len(renamed.tensors), renamed.ignored, used, stored)
    text = model_card(as_name, header, done)
    report(f"writing {weights}")
    _write(weights, card, renamed.tensors, header, text)
    return done


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read a checkpoint's tensors by name, running none of its code.

    Raises:
        WeightsError: the file is missing, truncated, too large, holds code or no state dict.
    """
    if not path.is_file():
        raise WeightsError(f"no checkpoint {path}; docs/real-photos.md says where to get one")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise WeightsError(f"{path} cannot be read ({error}); fetch it again") from error
    archive = zipfile.is_zipfile(path)
    if archive:
        with zipfile.ZipFile(path) as entries:
            unpacked = sum(entry.file_size for entry in entries.infolist())
        if unpacked > MAX_BYTES:
            raise WeightsError(f"{path} unpacks to {unpacked >> 30} GiB; no released network does")
    try:
        # mmap leaves the optimizer's state, twice the size of the weights, on disk.
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=archive or None)
    except pickle.UnpicklingError as error:
        if found := re.search(
            r"(?:Unsupported )?(?:global|GLOBAL|class)[: ]+`?([\w.]+)", str(error)
        ):
            raise WeightsError(
                f"{path} holds code beside weights ({found[1]}); nothing of it was run. Released "
                "networks hold tensors and numbers only: fetch the file from its authors"
            ) from error
        raise WeightsError(_unreadable(path, error)) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError) as error:
        raise WeightsError(_unreadable(path, error)) from error
    return _state_dict_of(content, path)


def check(renamed: Renamed, config: OfficialConfig, path: Path) -> None:
    """Compare names, shapes, types and values with the network that they are meant for.

    Raises:
        WeightsError: lists the first problems, and names the network that would fit.
    """
    problems = differences(renamed, config)
    if problems:
        fits = [name for name, other in OFFICIAL.items() if not differences(renamed, other)]
        remedy = f"import it with --as {fits[0]}" if fits else "is it a checkpoint of ReLA?"
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise WeightsError(
            f"{path} does not fit {config.name}: {'; '.join(problems[:_SHOWN])}{more}; {remedy}"
        )
    for name, tensor in renamed.tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise WeightsError(
                f"{path}: {renamed.official[name]} holds numbers that are not finite"
            )


def differences(renamed: Renamed, config: OfficialConfig) -> list[str]:
    """What keeps a renamed checkpoint from filling a network; names as in the file where known."""
    wanted = {name: value.shape for name, value in empty_network(config).state_dict().items()}
    problems = [f"missing {name}" for name in sorted(wanted.keys() - renamed.tensors.keys())]
    problems += [
        f"unexpected {renamed.official[name]}"
        for name in sorted(renamed.tensors.keys() - wanted.keys())
    ]
    for name in sorted(wanted.keys() & renamed.tensors.keys()):
        tensor = renamed.tensors[name]
        if tensor.shape != wanted[name]:
            problems.append(
                f"{renamed.official[name]} has shape {tuple(tensor.shape)}, "
                f"not {tuple(wanted[name])}"
            )
        elif not tensor.is_floating_point() or tensor.layout is not torch.strided:
            problems.append(f"{renamed.official[name]} holds {tensor.dtype}, not plain floats")
    return problems


def model_card(name: str, header: Mapping[str, str], done: Imported) -> str:
    """Markdown that tells where the weights came from and what was done to them."""
    ignored = "\n".join(
        f"- {len(names)} entries, such as `{names[0]}`: {reason}"
        for reason, names in _by_reason(done.ignored).items()
    )
    return f"""# {name}

Weights of the released early-fusion ReLA network (Liu, Ding, Jiang, *GRES: Generalized Referring
Expression Segmentation*, CVPR 2023), imported by `referent models import`.

- Source: `{header["source"]}`, sha256 `{header["source_sha256"]}`
- Tensors: {done.tensors}, values unchanged
- Word weight (`lang_weight`): {done.lang_weight:.6g} in use, {done.stored_lang_weight:.6g} in the \
file ({header["lang_weight"]})
- Use: exact verifier, `referent search ... --verifier {name}`; photos are squashed to 480 x 480
- Licence: that of the source. The network was trained on gRefCOCO (COCO pictures) from ImageNet
  weights; look its terms up before you pass it on.

## Left out of the source

{ignored or "- nothing"}

## The word weight

The official loader reports that it read `lang_weight` but leaves 0, so official evaluation of a
file runs with sigmoid(0) = 0.5 for it. While training, and in evaluations in between, the network
ran with the stored value, and every other weight was fitted to that: so it is the default here.
`--lang-weight official` reproduces the official evaluation of the file.
"""


def _state_dict_of(content: Any, path: Path) -> dict[str, Tensor]:
    for key in ("model", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not content:
        raise WeightsError(f"{path} holds no state dict; is it a checkpoint of ReLA?")
    strangers = [name for name, value in content.items() if not isinstance(value, Tensor)]
    if strangers:
        raise WeightsError(f"{path}: {strangers[0]!r} is no tensor; is it a checkpoint of ReLA?")
    return {str(name): value for name, value in content.items()}


def _unreadable(path: Path, error: Exception) -> str:
    first = re.split(r"\n|\. ", str(error).strip(), maxsplit=1)[0][:200]
    said = weights_file.looks_like(path)
    if not said or "models import" in said:  # a pickled file is what it should be
        said = "it may be truncated: fetch it again"
        if "Unsupported operand" in str(error):
            said = "it is a pickle that PyTorch did not write, and nothing of it was run"
    return f"{path} cannot be read ({first}); {said}"


def _by_reason(ignored: Mapping[str, str]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for name, reason in ignored.items():
        grouped.setdefault(reason, []).append(name)
    return grouped


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(
    weights: Path, card: Path, tensors: dict[str, Tensor], header: dict[str, str], text: str
) -> None:
    """Write both files under temporary names, then rename; a failure leaves nothing behind."""
    try:
        weights.parent.mkdir(parents=True, exist_ok=True)
        plain = {name: value.float().contiguous() for name, value in tensors.items()}
        with replacing(card) as part_card:
            part_card.write_text(text, encoding="utf-8")
            weights_file.write(weights, plain, header)
    except OSError as error:
        raise WeightsError(f"{weights} cannot be written ({error})") from error
