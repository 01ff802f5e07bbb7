"""The prefilter's projections, trained on frozen features to foresee what the head accepts.

The head judges many (photo, expression) pairs once; then sentence and region vectors learn, by
sigmoid contrast, to score a photo high where the head would return it. Nothing else changes, so
cached tokens and masks stay valid.

Shape legend: B photos, E expressions, N regions, V vectors, D channels of the joint space.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from model import checkpoint
from model.errors import WeightsError
from model.rela import RelaNetwork
from model.text import TextEncoder
from training import grammar
from training.recipe import Recipe
from training.shards import Shards

PHOTO_BATCH = 16


def photo_scores(vectors: Tensor, sentence: Tensor) -> Tensor:
    """The prefilter's score: the best vector of a photo. (B, V, D), (E, D) -> (B, E)."""
    return torch.einsum("bvd,ed->bve", vectors, sentence).amax(1)


@torch.inference_mode()
def regions_of(network: RelaNetwork, shards: Shards, photos: list[int], device: str) -> Tensor:
    """Region tokens F'_r of photos, (B, N, C) fp32 on the device."""
    rows = []
    for start in tqdm(range(0, len(photos), PHOTO_BATCH), desc="encoding", unit="batch"):
        pixels = np.stack([shards.photo(p)[0] for p in photos[start : start + PHOTO_BATCH]])
        x = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float()
        rows.append(network.decode(network.pyramid(x)).regions)
    return torch.cat(rows)


@torch.inference_mode()
def teacher(
    network: RelaNetwork, regions: Tensor, words: Tensor, mask: Tensor, batch: int = 256
) -> Tensor:
    """The head's target logit (minus E) for every pair: (B, E)."""
    tokens = network.tokens(regions)
    columns = []
    for e in tqdm(range(len(words)), desc="judging", unit="expression"):
        length = int(mask[e].sum())
        parts = []
        for start in range(0, len(regions), batch):
            at = torch.arange(start, min(start + batch, len(regions)), device=regions.device)
            output = network.judge(
                tokens.select(at), words[e : e + 1, :length], mask[e : e + 1, :length]
            )
            parts.append(-output.no_target_logit.float())
        columns.append(torch.cat(parts))
    return torch.stack(columns, dim=1)


def contrast(scores: Tensor, target: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Sigmoid contrast of all pairs, with rare targets made as heavy as the rest.

    Args:
        scores: (B, E) in [-1, 1]. target: (B, E) p(target) of the teacher.
    Source: Zhai et al., Sigmoid Loss for Language Image Pre-Training, ICCV 2023.
    """
    share = target.mean().clamp(1e-3, 1 - 1e-3)
    weight = target * (0.5 / share) + (1 - target) * (0.5 / (1 - share))
    pairs = F.binary_cross_entropy_with_logits(scale * scores + bias, target, weight=weight)
    # Ranking within an expression is what recall at K measures.
    wanted = target / target.sum(0, keepdim=True).clamp_min(1e-6)
    found = target.amax(0) > 0.5
    ranked = -(wanted * (scale * scores).log_softmax(0)).sum(0)
    return pairs + 0.2 * (ranked * found).sum() / found.sum().clamp_min(1)


def train_prefilter(
    recipe: Recipe,
    shards: Shards,
    folder: Path,
    start: Path | None,
    device: str = "cpu",
    photos: int = 1600,
    expressions: int = 1200,
) -> Path:
    """Train the projections of finished weights.

    Args:
        start: those weights; they are copied with new projections into `folder`.
        photos, expressions: how many the head judges as the teacher, every pair of them.
    Returns:
        The new weights file.
    Raises:
        WeightsError: no weights to start from.
    """
    if start is None:
        raise WeightsError("the prefilter stage needs trained weights; name them with --start")
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng([recipe.seed, 79])
    network = checkpoint.load(start).to(device).eval().requires_grad_(False)
    text = TextEncoder(network.config.text).to(device)
    chosen = [int(i) for i in rng.permutation(len(shards))[:photos]]
    texts: dict[str, None] = {}
    while len(texts) < expressions:
        scene = shards.scenes[int(rng.integers(len(shards)))]
        own = grammar.expressions(scene, rng, 1) if rng.random() < 0.3 else [grammar.draw(rng)]
        texts.update({expression.text: None for expression in own})
    features, mask = text(list(texts))
    with torch.inference_mode():
        words = network.words(features, mask)
    regions = regions_of(network, shards, chosen, device)
    target = teacher(network, regions, words, mask).sigmoid().clone()
    regions, words = regions.clone(), words.clone()

    pool, sentence = network.vector_pool, network.words.sentence
    parameters = [
        *pool.requires_grad_(True).parameters(),
        *sentence.requires_grad_(True).parameters(),
    ]
    scale = torch.tensor(10.0, device=device, requires_grad=True)
    bias = torch.tensor(-5.0, device=device, requires_grad=True)
    optimizer = torch.optim.AdamW([*parameters, scale, bias], lr=recipe.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=recipe.steps, pct_start=0.1
    )
    bar = tqdm(range(recipe.steps), desc="prefilter", unit="step")
    for _ in bar:
        b = torch.from_numpy(rng.permutation(len(regions))[: 4 * recipe.batch])
        e = torch.from_numpy(rng.permutation(len(words))[: 4 * recipe.batch])
        vectors = pool(regions.index_select(0, b))
        queries = network.words.sentence_vector(words.index_select(0, e), mask.index_select(0, e))
        scores = photo_scores(vectors, queries)
        loss = contrast(scores, target.index_select(0, b).index_select(1, e), scale, bias)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        bar.set_postfix(loss=f"{float(loss.detach()):.3f}")
    notes = {k: v for k, v in checkpoint.header(start).items() if k not in ("format", "config")}
    notes["prefilter"] = json.dumps({"photos": photos, "expressions": expressions,
                                     "steps": recipe.steps})  # fmt: skip
    path = folder / f"{network.config.name}.safetensors"
    checkpoint.save(network, path, notes)
    return path
