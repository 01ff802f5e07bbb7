"""Muon against torch's own, which multiplies in bfloat16 on every device."""

from __future__ import annotations

import torch

from training.learning.muon import Muon, orthogonal


def test_orthogonal_matrices_have_singular_values_near_one() -> None:
    torch.manual_seed(0)
    for shape in ((3, 16, 40), (2, 40, 16), (1, 8, 8)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape)))
        assert values.min() > 0.3 and values.max() < 1.3


def test_steps_are_those_of_torch_but_for_its_rounding() -> None:
    torch.manual_seed(0)
    start = [torch.randn(24, 12), torch.randn(12, 24), torch.randn(24, 12)]
    gradients = [[torch.randn_like(p) for p in start] for _ in range(3)]
    moved = []
    for make in (
        lambda p: Muon(p, lr=0.02, weight_decay=0.1),
        lambda p: torch.optim.Muon(p, lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
    ):
        parameters = [torch.nn.Parameter(p.clone()) for p in start]
        optimizer = make(parameters)
        for step in gradients:
            for p, gradient in zip(parameters, step, strict=True):
                p.grad = gradient.clone()
            optimizer.step()
        moved.append([p.detach() for p in parameters])
    for ours, theirs, begun in zip(*moved, start, strict=True):
        assert (ours - theirs).norm() < 0.02 * (theirs - begun).norm()
