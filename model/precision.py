"""In which precision the head judges, and the memory that it works in."""

from __future__ import annotations

import copy
import ctypes
from typing import Any, Literal, TypeVar

import torch
from torch import nn

from model.errors import ModelError

HeadDtype = Literal["auto", "float32", "bfloat16"]
H = TypeVar("H", bound=nn.Module)
# A batch's activations are some megabytes. Below these sizes glibc hands freed memory back to the
# system and asks for it anew in every batch; the page faults took a quarter of the judging.
KEEP_FREED_BYTES = 256 * 2**20
HEAP_BLOCK_BYTES = 32 * 2**20
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def head_dtype(choice: HeadDtype, device: torch.device) -> torch.dtype:
    """The precision that a setting stands for.

    Args:
        choice: "auto" is bfloat16 where the device multiplies it natively, float32 elsewhere.
    Raises:
        ModelError: no such choice.
    """
    if choice == "auto":
        return torch.bfloat16 if multiplies_bfloat16(device) else torch.float32
    if choice not in ("float32", "bfloat16"):
        raise ModelError(f"no precision is called {choice!r}; choose auto, float32 or bfloat16")
    return torch.float32 if choice == "float32" else torch.bfloat16


def judging_in(dtype: torch.dtype, head: H) -> H:
    """A head that judges in a precision: itself in float32, else a copy.

    Its layers that give E, by which photos are ranked, keep float32, so that photos do not tie.
    """
    if dtype == torch.float32:
        return head
    other = copy.deepcopy(head).to(dtype)
    other.get_submodule("no_target").float()
    return other


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 natively; elsewhere it takes up to 80 times as long."""
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        return any(able.get(name, False) for name in ("amx_bf16", "avx512_bf16"))
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def keep_freed_memory() -> None:
    """Let this process keep what a batch frees for the next one; does nothing without glibc."""
    if (mallopt := _glibc("mallopt")) is not None:
        mallopt(_M_MMAP_THRESHOLD, HEAP_BLOCK_BYTES)
        mallopt(_M_TRIM_THRESHOLD, KEEP_FREED_BYTES)


def return_freed_memory() -> None:
    """Hand what was freed, and kept, back to the system; does nothing without glibc."""
    if (trim := _glibc("malloc_trim")) is not None:
        trim(0)


def _glibc(name: str) -> Any:
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError, TypeError):
        return None
