"""Which optimizer moves which parameter, and at what share of the recipe's rate."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from training.learning.muon import Muon
from training.recipes.recipe import Recipe


def optimizers_of(module: nn.Module, recipe: Recipe) -> list[Optimizer]:
    """AdamW for everything, or Muon for the matrices and AdamW for the rest.

    Each group's "factor" is what it takes of the recipe's rate. Muon (Jordan et al., 2024) makes
    every update orthogonal; scaled to the size of AdamW's, it takes the same rate and decay
    (Liu et al., Muon is Scalable for LLM Training, arXiv:2502.16982).
    """
    hidden = hidden_matrices(module) if recipe.optimizer == "muon" else set()
    groups: dict[tuple[bool, bool, float], list[nn.Parameter]] = {}
    for name, p in module.named_parameters():
        if p.requires_grad:
            decays = p.ndim > 1 and name.endswith("weight")  # no learned positions or queries
            groups.setdefault((name in hidden, decays, _factor(name, recipe)), []).append(p)
    by_muon: list[dict[str, Any]] = []
    by_adamw: list[dict[str, Any]] = []
    for (by_matrix, decays, factor), params in groups.items():
        decay = recipe.weight_decay if decays else 0.0
        group = {"params": params, "weight_decay": decay, "factor": factor}
        (by_muon if by_matrix else by_adamw).append(group)
    rate = recipe.learning_rate
    found: list[Optimizer] = []
    if by_adamw:
        found.append(torch.optim.AdamW(by_adamw, lr=rate, fused=True))
    if by_muon:
        found.append(Muon(by_muon, lr=rate))
    return found


def hidden_matrices(module: nn.Module) -> set[str]:
    """Names of the matrices between hidden layers; what reads scores or classes out is none."""
    return {
        f"{name}.weight"
        for name, part in module.named_modules()
        if isinstance(part, nn.Linear) and not name.startswith("readout") and part.out_features > 4
    }


def _factor(name: str, recipe: Recipe) -> float:
    if ".backbone." in name:
        return recipe.backbone_rate
    return recipe.ria_rate if ".ria." in name else 1.0
