"""The prefilter, trained on frozen features to foresee what the head accepts.

The head judges many (photo, expression) pairs once; then sentence and region vectors learn, by
sigmoid contrast, to score a photo high where the head would return it, and so does the rough head,
which begins as the head's own layers. Nothing else changes, so cached tokens and masks stay valid.

Shape legend: B photos, E expressions, G photos that an expression is judged on, N regions, T words,
C channels.
"""

from __future__ import annotations

import json
import pickle
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from model import checkpoint, parallel
from model.errors import WeightsError
from model.network.config import ReLAConfig
from model.network.hybrid import HybridBackbone
from model.network.rela import RelaNetwork
from model.precision import head_dtype, judging_in, keep_freed_memory, multiplies_bfloat16
from model.replacing import replacing
from model.text import TextEncoder
from training.data.batches import Source
from training.errors import Diverged, Interrupted
from training.learning.legs import RecipeChanged, content_of
from training.learning.prefilter_losses import Lesson, rough_loss, vector_loss
from training.photos.batches import PhotoSampler
from training.photos.sources import Data, source_of
from training.recipes.recipe import Recipe

PHOTO_BATCH = 16
TOGETHER = 32  # expressions that are judged between two looks at the clock
ROUGH_RATE = 0.6  # of the recipe's learning rate: these layers are trained ones already
EXPRESSIONS_A_GROUP = 100  # that are asked of the same photos: a step ranks these by each other
# What may differ between a recipe and the weights it starts from: such parts are made anew.
PREFILTER_FIELDS = ("vectors", "vector_channels", "vector_layers", "rough_layers")
PREFILTER_PARTS = ("vector_pool.", "words.sentence.", "rough.")


@torch.inference_mode()
def regions_of(
    network: RelaNetwork,
    source: Source,
    photos: list[int],
    device: str,
    should_stop: Callable[[], bool] = lambda: False,
) -> Tensor:
    """Region tokens F'_r of photos, (B, N, C) fp32 on the device."""
    rows = []
    for start in tqdm(range(0, len(photos), PHOTO_BATCH), desc="encoding", unit="batch"):
        _go_on(should_stop)
        some = photos[start : start + PHOTO_BATCH]
        rows.append(network.decode(_pyramid(network, source, some, device)).regions)
    return torch.cat(rows)


def _pyramid(
    network: RelaNetwork, source: Source, photos: list[int], device: str
) -> dict[str, Tensor]:
    """The image encoder's levels: from pixels, or from what a frozen stem saw of them."""
    if isinstance(source, PhotoSampler) and source.dump is not None:
        assert isinstance(network.backbone, HybridBackbone)
        return network.backbone.refine({n: x.to(device) for n, x in source.maps(photos).items()})
    pixels = np.stack([source.pixels(photo) for photo in photos])
    return network.pyramid(torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float())


@torch.inference_mode()
def teacher(
    network: RelaNetwork,
    regions: Tensor,
    words: Tensor,
    mask: Tensor,
    photos: Tensor,
    should_stop: Callable[[], bool] = lambda: False,
) -> Tensor:
    """The head's target logit (minus E) of every expression on its photos, as a search judges.

    Args:
        regions: (B, N, C). words: (E, T, C). mask: (E, T).
        photos: (E, G) which photos each expression is asked of.
    Returns:
        (E, G).
    """
    keep_freed_memory()
    dtype = head_dtype("auto", regions.device)
    head, words = judging_in(dtype, network.head), words.to(dtype)
    tokens = head.tokens(regions.to(dtype))

    @torch.inference_mode()  # each thread has a mode of its own
    def judged(e: int) -> Tensor:
        length = int(mask[e].sum())
        chosen = tokens.select(photos[e])
        output = head(chosen, words[e : e + 1, :length], mask[e : e + 1, :length])
        return -output.no_target_logit.float()

    rows: list[Tensor] = []
    on_cpu = regions.device.type == "cpu"
    with tqdm(total=len(words), desc="judging", unit="expression") as bar:
        for start in range(0, len(words), TOGETHER):
            _go_on(should_stop)
            some = range(start, min(start + TOGETHER, len(words)))
            rows += parallel.each(judged, some) if on_cpu else [judged(e) for e in some]
            bar.update(len(some))
    return torch.stack(rows)


def _go_on(should_stop: Callable[[], bool]) -> None:
    if should_stop():
        raise Interrupted("interrupted before the head had judged all: start it anew")


def _lesson(
    network: RelaNetwork,
    data: Data,
    recipe: Recipe,
    device: str,
    should_stop: Callable[[], bool],
) -> Lesson:
    photos, expressions = recipe.teacher
    text = TextEncoder(network.config.text).to(device)
    source = source_of(data, recipe, network.config, text, 0, 1)
    rng = np.random.default_rng([recipe.data_seed, 79])
    chosen = [int(i) for i in rng.permutation(len(source))[:photos]]
    features, mask = text(source.phrases(rng, expressions))
    with torch.inference_mode():
        words = network.words(features, mask)
    regions = regions_of(network, source, chosen, device, should_stop)
    groups = -(-expressions // EXPRESSIONS_A_GROUP)
    size = min(recipe.group, len(chosen))
    drawn = np.stack([rng.permutation(len(chosen))[:size] for _ in range(groups)])
    asked = torch.from_numpy(drawn.repeat(EXPRESSIONS_A_GROUP, axis=0)[:expressions]).to(device)
    logits = teacher(network, regions, words, mask, asked, should_stop=should_stop)
    # Clones, since training cannot read what inference mode made.
    logits = logits.clone() - recipe.prior_shift
    return Lesson(regions.clone(), words.clone(), mask.clone(), asked, logits.sigmoid(), logits)


def _in_form(network: RelaNetwork, wanted: ReLAConfig) -> RelaNetwork:
    """The network with prefilter parts of the wanted form; new where its own have another shape."""
    form = {name: getattr(wanted, name) for name in PREFILTER_FIELDS}
    if all(getattr(network.config, name) == value for name, value in form.items()):
        return network
    made = RelaNetwork(replace(network.config, **form))
    fresh = made.state_dict()
    kept = {
        name: value
        for name, value in network.state_dict().items()
        if not name.startswith(PREFILTER_PARTS)
        or (name in fresh and fresh[name].shape == value.shape)
    }
    missing, _ = made.load_state_dict(kept, strict=False)
    assert all(name.startswith(PREFILTER_PARTS) for name in missing)
    if made.rough is not None and any(name.startswith("rough.") for name in missing):
        made.rough.begin_as(made.head)
    return made


def train_prefilter(
    recipe: Recipe,
    data: Data,
    folder: Path,
    start: Path | None,
    device: str = "cpu",
    limit_minutes: float | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Path:
    """Train the prefilter parts of finished weights.

    What the head taught and the state of training are kept in `prefilter.pt`, with which an
    interrupted run goes on.

    Args:
        start: those weights; they are copied with new prefilter parts into `folder`.
        limit_minutes, should_stop: when to stop and save before the steps are done.
    Returns:
        The new weights file.
    Raises:
        WeightsError: no weights to start from, or `prefilter.pt` cannot be read.
        RecipeChanged: `prefilter.pt` is of another recipe or other weights.
        Interrupted: stopped before there was anything to save.
        Diverged: a loss or the gradient is not finite; nothing is written.
    """
    if start is None:
        raise WeightsError("the prefilter stage needs trained weights; name them with --start")
    begun, path = time.monotonic(), folder / "prefilter.pt"
    torch.manual_seed(recipe.seed)
    network = _in_form(checkpoint.load(start), recipe.config)
    network.to(device).eval().requires_grad_(False)
    form = (json.dumps(recipe.to_dict()), "groups", str(EXPRESSIONS_A_GROUP))
    of = checkpoint.fingerprint(form, [network])
    state = _kept(path, of, device)
    if state is None:
        lesson = _lesson(network, data, recipe, device, should_stop)
    else:
        lesson = Lesson(**state["lesson"])
    pupil = nn.ModuleDict({"pool": network.vector_pool, "sentence": network.words.sentence})
    if network.rough is not None:
        pupil["rough"] = network.rough
    pupil.requires_grad_(True)
    line = nn.Parameter(torch.tensor([10.0, -5.0], device=device))  # scale and bias
    groups = [[*network.vector_pool.parameters(), *network.words.sentence.parameters(), line]]
    rates = [recipe.learning_rate]
    if network.rough is not None:
        groups.append([*network.rough.parameters()])
        rates.append(ROUGH_RATE * recipe.learning_rate)
    optimizer = torch.optim.AdamW([{"params": group} for group in groups], fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rates, total_steps=recipe.steps, pct_start=0.1
    )
    done = 0
    if state is not None:
        pupil.load_state_dict(state["pupil"])
        line.data.copy_(state["line"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        done = state["step"]
    bar = tqdm(total=recipe.steps, initial=done, desc="prefilter", unit="step")
    with bar:
        while done < recipe.steps:
            loss = _step_loss(network, lesson, line, recipe, done)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(pupil.parameters(), recipe.clip)
            if not torch.isfinite(norm + loss.detach()):
                raise Diverged(
                    f"the prefilter diverged at step {done + 1} (loss {float(loss.detach())}, "
                    f"gradient {float(norm)}); what {folder} held before is kept"
                )
            optimizer.step()
            schedule.step()
            done += 1
            bar.update(1)
            bar.set_postfix(loss=f"{float(loss.detach()):.3f}")
            spent_s = time.monotonic() - begun
            if should_stop() or (limit_minutes is not None and spent_s > 60 * limit_minutes):
                break
    folder.mkdir(parents=True, exist_ok=True)
    kept = {"pupil": pupil.state_dict(), "line": line.detach(), "lesson": vars(lesson), "of": of,
            "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(),
            "step": done}  # fmt: skip
    with replacing(path) as part:
        torch.save(kept, part)
    notes = {k: v for k, v in checkpoint.header(start).items() if k not in ("format", "config")}
    notes["prefilter"] = json.dumps(
        {"photos": len(lesson.regions), "expressions": len(lesson.words),
         "photos_an_expression": lesson.photos.shape[1], "steps": done,
         "recipe": content_of(recipe)}
    )  # fmt: skip
    weights = folder / f"{network.config.name}.safetensors"
    checkpoint.save(network, weights, notes)
    return weights


def _step_loss(
    network: RelaNetwork, lesson: Lesson, line: Tensor, recipe: Recipe, step: int
) -> Tensor:
    """The loss of one step, on photos and expressions drawn for it."""
    rng, device = np.random.default_rng([recipe.data_seed, 80, step]), lesson.regions.device
    groups = -(-len(lesson.words) // EXPRESSIONS_A_GROUP)
    first = int(rng.integers(groups)) * EXPRESSIONS_A_GROUP
    e = torch.arange(first, min(first + EXPRESSIONS_A_GROUP, len(lesson.words)), device=device)
    some = torch.from_numpy(rng.permutation(lesson.photos.shape[1])[: recipe.batch]).to(device)
    bf16 = recipe.bf16 and multiplies_bfloat16(device)
    loss = vector_loss(network, lesson, line, e, some, bf16=bf16)
    if network.rough is not None:
        loss = loss + rough_loss(network.rough, lesson, e, some, rng, bf16=bf16)
    return loss


def _kept(path: Path, of: str, device: str) -> dict[str, Any] | None:
    """The state of an interrupted run of the same recipe and weights, if there is one.

    Raises:
        WeightsError: it cannot be read. RecipeChanged: it is of another recipe or other weights.
    """
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
        raise WeightsError(
            f"{path} cannot be resumed from ({error}); delete it to start anew"
        ) from error
    if state.get("of") != of:
        raise RecipeChanged(
            f"{path} cannot be resumed: it is of another recipe or of other weights; give the "
            "options that it began with, name another --out, or delete it to start anew"
        )
    return state
