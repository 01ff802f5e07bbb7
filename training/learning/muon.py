"""Muon: gradient steps made orthogonal, for the matrices between hidden layers.

torch's own multiplies in bfloat16 whatever the device: on a CPU without units for it, a step of
rela-mini spent 8.0 s there, 0.3 s in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from model.precision import multiplies_bfloat16

# The quintic iteration of Jordan et al., Muon, 2024: quick rather than exact.
QUINTIC = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
MOMENTUM = 0.95


def orthogonal(matrices: Tensor) -> Tensor:
    """Matrices (K, A, B) with all singular values brought near 1, Newton-Schulz."""
    a, b, c = QUINTIC
    dtype = torch.bfloat16 if multiplies_bfloat16(matrices.device) else torch.float32
    x = matrices.to(dtype)
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.transpose(1, 2)
    x = x / x.flatten(1).norm(dim=1).clamp(min=1e-7)[:, None, None]
    for _ in range(ITERATIONS):
        gram = x @ x.transpose(1, 2)  # (K, A, A)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.transpose(1, 2) if tall else x).to(matrices.dtype)


class Muon(Optimizer):
    """Momentum, made orthogonal, scaled to the size of AdamW's updates.

    Args:
        params: matrices, or groups of them with "lr" and "weight_decay" of their own.
    Source: Jordan et al., 2024; scale and decay of Liu et al., arXiv:2502.16982.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every matrix that has a gradient; those of one shape together."""
        assert closure is None
        for group in self.param_groups:
            shapes: dict[torch.Size, list[tuple[Tensor, Tensor]]] = {}
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(p)
                momentum: Tensor = state["momentum_buffer"].lerp_(p.grad, 1 - MOMENTUM)
                ahead = p.grad.lerp(momentum, MOMENTUM)  # Nesterov's
                shapes.setdefault(p.shape, []).append((p, ahead))
            for shape, rows in shapes.items():
                updates = orthogonal(torch.stack([update for _, update in rows]))
                size = 0.2 * math.sqrt(max(shape))
                for (p, _), update in zip(rows, updates, strict=True):
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.add_(update, alpha=-group["lr"] * size)
