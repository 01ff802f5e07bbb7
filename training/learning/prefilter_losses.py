"""What the prefilter's scores learn from: the head's verdicts on frozen features.

Shape legend: E expressions, B photos, G photos that an expression is judged on, N regions, T words,
C channels, V vectors of a photo, D channels of the joint space.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model.network.rela import RelaNetwork
from model.network.rough import RoughHead

# A step of the rough head: of a group's photos so many are shown, and each of so many expressions
# is asked of a few of them, mostly of those that are in question.
ROUGH_SHOWN, ROUGH_EXPRESSIONS, ROUGH_ASKED = 64, 40, 20
CHANCE_MIN = 0.12
CERTAIN = 8.0  # logits beyond are all the same


@dataclass
class Lesson:
    """What the head taught.

    Attributes:
        regions: (B, N, C) of all photos.
        words: (E, T, C) F_t of all expressions. mask: (E, T).
        photos: (E, G) which photos each expression was asked of.
        target: (E, G) p(target), the head's.
        scores: (E, G) the rough head's logits when it was last asked; at first the head's.
    """

    regions: Tensor
    words: Tensor
    mask: Tensor
    photos: Tensor
    target: Tensor
    scores: Tensor

    def asked(self, e: Tensor) -> tuple[Tensor, Tensor]:
        """Words and mask of expressions e, no longer than the longest of them."""
        mask = self.mask.index_select(0, e)
        length = int(mask.sum(1).max())
        return self.words.index_select(0, e)[:, :length], mask[:, :length]


def photo_scores(vectors: Tensor, sentences: Tensor) -> Tensor:
    """The prefilter's score, see `indexer.features.prefilter`: (B, V, D), (E, D) -> (B, E)."""
    return torch.einsum("bvd,ed->bve", vectors, sentences).amax(1)


def contrast(logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Sigmoid contrast of all pairs, with rare targets made as heavy as the rest, and ranking.

    Args:
        logits: (E, B). target: (E, B) p(target) of the teacher.
        weight: (E, B), of mean 1; what a pair stands for where not all were drawn.
    Source: Zhai et al., Sigmoid Loss for Language Image Pre-Training, ICCV 2023.
    """
    weight = torch.ones_like(target) if weight is None else weight
    share = (weight * target).mean().clamp(1e-3, 1 - 1e-3)
    balance = target * (0.5 / share) + (1 - target) * (0.5 / (1 - share))
    pairs = F.binary_cross_entropy_with_logits(logits, target, weight=balance * weight)
    # Ranking within an expression is what recall at K measures.
    wanted = weight * target
    wanted = wanted / wanted.sum(1, keepdim=True).clamp_min(1e-6)
    found = target.amax(1) > 0.5
    whole = (logits + weight.log()).logsumexp(1, keepdim=True)  # of all that the pairs stand for
    ranked = -(wanted * (logits - whole)).sum(1)
    return pairs + 0.2 * (ranked * found).sum() / found.sum().clamp_min(1)


def vector_loss(
    network: RelaNetwork, lesson: Lesson, line: Tensor, e: Tensor, some: Tensor, *, bf16: bool
) -> Tensor:
    """The loss of the inner products on expressions e (E,) and their photos number `some` (B,).

    Args:
        line: (2,) scale and bias that make logits of them.
        e: numbers of expressions of one group, which are asked of the same photos.
        some: places in (0 .. G) of these photos.
        bf16: run the projections in bfloat16.
    """
    photos = lesson.photos[int(e[0])].index_select(0, some)  # the same for the whole group
    words, mask = lesson.asked(e)
    with torch.autocast(e.device.type, torch.bfloat16, enabled=bf16):
        vectors = network.vector_pool(lesson.regions.index_select(0, photos))
        sentences = network.words.sentence_vector(words, mask)
    logits = line[0] * photo_scores(vectors, sentences).T + line[1]
    return contrast(logits, lesson.target.index_select(0, e).index_select(1, some))


def rough_loss(
    rough: RoughHead,
    lesson: Lesson,
    e: Tensor,
    some: Tensor,
    rng: np.random.Generator,
    *,
    bf16: bool,
) -> Tensor:
    """The loss of the rough head on some of these expressions and photos; see `vector_loss`."""
    e = e[torch.from_numpy(rng.permutation(len(e))[:ROUGH_EXPRESSIONS]).to(e.device)]
    some = some[:ROUGH_SHOWN]
    at = (e[:, None], some[None])
    verdict, known = lesson.target[at].logit(1e-6), lesson.scores[at]  # (E, S)
    chosen, weight = drawn(torch.maximum(in_question(verdict), in_question(known)), rng)
    words, mask = lesson.asked(e)
    photos = lesson.photos[int(e[0])].index_select(0, some)
    with torch.autocast(e.device.type, torch.bfloat16, enabled=bf16):
        tokens = rough.tokens(lesson.regions.index_select(0, photos))  # (S, R, C)
        logits = rough(tokens[chosen], words, mask).float()
    lesson.scores[e[:, None], some[chosen]] = logits.detach()
    verdict = verdict.gather(1, chosen)
    apart = F.smooth_l1_loss(logits.clamp(-CERTAIN, CERTAIN), verdict.clamp(-CERTAIN, CERTAIN))
    return contrast(logits, verdict.sigmoid(), weight) + 0.1 * apart


def in_question(logit: Tensor) -> Tensor:
    """How much a pair is worth asking: 1 where it is accepted, less the farther from that."""
    return torch.where(logit < 0, (-(logit / 2).square() / 2).exp(), 1.0).clamp_min(CHANCE_MIN)


def drawn(chance: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Draw from every row without replacement.

    Args:
        chance: (E, S), of being drawn, to a factor.
    Returns:
        columns (E, k), and what each stands for, of mean 1 in a row.
    Source: Efraimidis and Spirakis, Weighted Random Sampling with a Reservoir, 2006.
    """
    count = min(ROUGH_ASKED, chance.shape[1])
    uniform = torch.from_numpy(rng.random(chance.shape)).to(chance.device).clamp_min(1e-12)
    chosen = (uniform.log() / chance).topk(count, dim=1).indices
    share = (chance * count / chance.sum(1, keepdim=True)).clamp(max=1.0)
    weight = 1 / share.gather(1, chosen)
    return chosen, weight / weight.mean(1, keepdim=True)
