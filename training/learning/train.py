"""The trainer: one vision pass a photo, many expressions for it, resumable to the bit.

Runs alone or under `torchrun`; every process draws its share of the same batches.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import pickle
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from model import checkpoint
from model.errors import WeightsError
from model.network.config import ReLAConfig
from model.network.hybrid import HybridBackbone
from model.network.rela import RelaNetwork
from model.precision import multiplies_bfloat16
from model.replacing import replacing
from model.text import TextEncoder
from training.data.batches import Batch, Source
from training.data.batches_ahead import batches_ahead
from training.data.photo_targets import PhotoTargets
from training.data.region_targets import Targets
from training.errors import Diverged
from training.learning import legs
from training.learning.kind_readout import KindReadout, kind_readout
from training.learning.losses import total, weight_of
from training.learning.optimizers import optimizers_of
from training.learning.run_log import RunLog
from training.learning.step import Step, shared_means
from training.learning.validation import Validation
from training.photos.sources import Data, source_of
from training.recipes.recipe import Recipe

LENGTHS = 4  # groups of a batch's texts, by length, that are read together


@dataclass
class Progress:
    """What a caller is told every few steps."""

    step: int
    steps: int
    losses: dict[str, float]
    photos_per_s: float
    elapsed_s: float


@dataclass
class Ready:
    """A batch, and the features (E, T, C_t) and mask (E, T) of its texts' words once read."""

    batch: Batch
    words: tuple[Tensor, Tensor] | None = None


class Trainer:
    """One run in a folder of its own: `last.pt`, `log.jsonl`, TensorBoard files.

    Args:
        recipe: what to do. shards: on what, see `training.data.sources`. folder: of the run.
        device: "cpu" or "cuda".
        start: weights to begin with, taken at the recipe's input size; a resumed run ignores them.
        source: batches to train on instead of those that `shards` gives, such as a dump's.
        loaders: processes that draw batches, and on a CPU read their words, ahead of the steps; 0
            does it between steps.
        new_leg: go on by another recipe than the run began with, and record it as a further leg.
    Raises:
        RecipeChanged: the folder holds a run of another recipe, and no new leg is asked for.
        WeightsError: its `last.pt` cannot be resumed from.
    """

    def __init__(
        self,
        recipe: Recipe,
        shards: Data,
        folder: Path,
        device: str = "cpu",
        start: Path | None = None,
        source: Source | None = None,
        loaders: int = 0,
        new_leg: bool = False,
    ) -> None:
        self.recipe, self.folder, self.loaders = recipe, folder, loaders
        self.rank = int(os.environ.get("RANK", "0"))
        self.world = int(os.environ.get("WORLD_SIZE", "1"))
        if self.world > 1 and not dist.is_initialized():
            dist.init_process_group("nccl" if device == "cuda" else "gloo")
        if device == "cuda" and self.world > 1:
            device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        self.device = torch.device(device)
        self.bf16 = recipe.bf16 and multiplies_bfloat16(self.device)
        kept = self._read_last() if (folder / "last.pt").exists() else None
        self.legs = legs.gone_on(
            [] if kept is None else legs.read(kept["legs"]), recipe,
            0 if kept is None else kept["step"], str(folder / "last.pt"), new_leg=new_leg,
        )  # fmt: skip
        torch.manual_seed(recipe.seed)
        self.module = self._made(kept, start, shards, source).to(self.device)
        self._ahead: Iterator[Ready] | None = None
        self.log = RunLog(folder)
        self._freeze()
        self.wrapped: nn.Module = self.module
        if self.world > 1:
            self.wrapped = DistributedDataParallel(self.module, find_unused_parameters=True)
        self.optimizers = self.new_optimizers()
        self.average = {n: p.detach().clone() for n, p in self._state()}
        self.mean: dict[str, float] = {}  # of each loss: a running one, 0.98 of itself a step
        self.step = 0
        self.saved_at: int | None = None  # the step that `last.pt` stands at
        self.elapsed_s = 0.0
        folder.mkdir(parents=True, exist_ok=True)
        if kept is not None:
            self._resume(kept)

    def _made(
        self, kept: dict[str, Any] | None, start: Path | None, data: Data, source: Source | None
    ) -> Step:
        """The module that learns, as a run that is gone on with left it, from a start, or random;
        and what reads its words and draws its batches."""
        side = self.recipe.config.input_size
        if kept is not None:
            config = ReLAConfig.from_dict(json.loads(kept["config"]))
            network = self.new_network(replace(config, input_size=side))
        elif start is not None:
            network = checkpoint.load(start, side, self.new_network)
        else:
            network = self.new_network(self.recipe.config)
        self.text = TextEncoder(network.config.text).to(self.device).eval()
        self.sampler: Source = source or source_of(
            data, self.recipe, network.config, self.text, self.rank, self.world
        )
        readout = kind_readout(self.sampler, network.config.channels, self.text)
        return self.new_step(network, readout)

    def new_network(self, config: ReLAConfig) -> RelaNetwork:
        """What is trained, with random weights."""
        return RelaNetwork(config)

    def new_step(self, network: RelaNetwork, readout: KindReadout | None) -> Step:
        """What one step runs."""
        return Step(network, self.recipe.stage, readout)

    def new_optimizers(self) -> list[Optimizer]:
        """What moves the parameters that learn."""
        return optimizers_of(self.module, self.recipe)

    def _freeze(self) -> None:
        net = self.module.network
        net.vector_pool.requires_grad_(False)
        net.words.sentence.requires_grad_(False)
        if net.rough is not None:
            net.rough.requires_grad_(False)
        if isinstance(net.backbone, HybridBackbone):
            net.backbone.stem.requires_grad_(False)
            net.backbone.words.requires_grad_(False)
        if self.recipe.stage == "decoder":
            net.backbone.requires_grad_(False)
        if self.recipe.stage == "head":
            for part in (net.backbone, net.pixel_decoder, net.ria):
                part.requires_grad_(False)

    def _state(self) -> list[tuple[str, Tensor]]:
        state = self.module.network.state_dict()
        return [(n, p) for n, p in state.items() if p.is_floating_point()]

    def rate(self, step: int) -> float:
        """Learning rate of a step: linear warm-up, then half a cosine to a hundredth, or drops."""
        r = self.recipe
        if step < r.warmup:
            return r.learning_rate * (step + 1) / r.warmup
        if r.drops:
            return float(r.learning_rate * 0.1 ** sum(step >= drop for drop in r.drops))
        done = min(1.0, (step - r.warmup) / max(1, r.steps - r.warmup))
        return r.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))

    def _ready(self, number: int) -> Ready:
        """A batch of the run and its words; with loaders, to be asked for in order."""
        if not self.loaders:
            return self._prepare(number)
        if self._ahead is None:
            end = self.recipe.steps * self.recipe.accumulate
            # A GPU is of this process alone: there the loaders leave the words to it.
            give = self._prepare if self.device.type == "cpu" else self._draw
            self._ahead = batches_ahead(give, range(number, end), self.loaders)
        ready = next(self._ahead)
        return ready if ready.words is not None else self._read(ready)

    def _draw(self, number: int) -> Ready:
        return Ready(self.sampler.batch(number))

    def _prepare(self, number: int) -> Ready:
        return self._read(self._draw(number))

    def _read(self, ready: Ready) -> Ready:
        """With the word features of a batch's texts, cut to the longest of them."""
        ids, mask = self.text.tokenize(ready.batch.texts)
        lengths = mask.sum(1)
        ids, mask = ids.to(self.device), mask[:, : int(lengths.max())].to(self.device)
        features = torch.zeros(*mask.shape, self.text.channels, device=self.device)
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            # Texts of similar length together: half of the longest's positions would be padding.
            for rows in lengths.argsort(stable=True).chunk(LENGTHS):
                end = int(lengths[rows].max())
                at = rows.to(self.device)
                features[at, :end] = self.text.bert(ids[at, :end], mask[at, :end]).float()
        return Ready(ready.batch, (features, mask.bool()))

    def advance(self) -> dict[str, float]:
        """Take one optimizer step; returns the losses of its whole batch.

        Raises:
            Diverged: a loss or the gradient is not finite; the weights are those before the step.
        """
        r = self.recipe
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.rate(self.step) * group["factor"]
        sums: dict[str, float] = {}
        for part in range(r.accumulate):
            ready = self._ready(self.step * r.accumulate + part)
            assert ready.words is not None
            batch, (features, mask) = to(ready.batch, self.device), ready.words
            later = part + 1 < r.accumulate and isinstance(self.wrapped, DistributedDataParallel)
            with self.wrapped.no_sync() if later else contextlib.nullcontext():  # type: ignore[operator]
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
                    found, shown = shared_means(self.wrapped(batch, features, mask, r), self.world)
                (total(found, r.losses) / r.accumulate).backward()
            shown["total"] = sum(weight_of(name, r.losses) * v for name, v in shown.items())
            for name, value in shown.items():
                sums[name] = sums.get(name, 0.0) + value / r.accumulate
        norm = float(nn.utils.clip_grad_norm_(self.module.parameters(), r.clip))
        self._check_finite({**sums, "gradient": norm})
        for optimizer in self.optimizers:
            optimizer.step()
        self.module.zero_grad(set_to_none=True)
        self.step += 1
        decay = min(r.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, weight in self._state():
                self.average[name].lerp_(weight, 1 - decay)
        return sums

    def _check_finite(self, values: dict[str, float]) -> None:
        """Every process has the same values, so that all of them stop or none does."""
        broken = {name: value for name, value in values.items() if not math.isfinite(value)}
        if not broken:
            return
        self.module.zero_grad(set_to_none=True)
        said = ", ".join(f"{name} {value}" for name, value in broken.items() if name != "total")
        remedy = (
            f"{self.folder / 'last.pt'} and the averaged weights are those of step {self.saved_at}"
            ". Go on from there with a lower learning rate: --new-leg --set learning_rate=..."
            if self.saved_at is not None
            else "nothing had been saved yet. Begin again with a lower learning rate: "
            "--set learning_rate=..."
        )
        raise Diverged(f"the run diverged at step {self.step + 1} ({said}); {remedy}")

    def run(
        self,
        progress: Callable[[Progress], None] = lambda _: None,
        limit_minutes: float | None = None,
        should_stop: Callable[[], bool] = lambda: False,
        validation: Validation | None = None,
    ) -> bool:
        """Train until the recipe's steps are done, or the time is; saves at the end.

        Args:
            validation: measures the averaged weights now and then, and keeps the best.
        Returns:
            True when the recipe is done, False when it stopped early and can be resumed.
        Raises:
            Diverged: see `advance`; nothing is saved over the last good state.
        """
        self.module.train()
        begun, saved, offset = time.monotonic(), time.monotonic(), self.elapsed_s
        mean = self.mean
        if validation is not None and self.rank == 0:
            validation.go_on(self.step)
        try:
            while self.step < self.recipe.steps:
                tick = time.monotonic()
                losses = self.advance()
                took = time.monotonic() - tick
                for name, value in losses.items():
                    mean[name] = value if name not in mean else 0.98 * mean[name] + 0.02 * value
                self.elapsed_s = offset + time.monotonic() - begun
                if self.rank == 0:
                    if self.step % 20 == 0:
                        rate, spent_s = self.rate(self.step), round(self.elapsed_s, 1)
                        raw = {f"raw_{name}": value for name, value in losses.items()}
                        self.log.write(self.step, {"lr": rate, **mean, **raw, "elapsed_s": spent_s})
                    speed = self.recipe.batch * self.recipe.accumulate / took
                    progress(Progress(self.step, self.recipe.steps, mean, speed, self.elapsed_s))
                    if validation is not None and validation.due(self.step, self.recipe.steps):
                        with torch.random.fork_rng(devices=[]):  # networks are made there
                            validation.measure(self.write, self.name, self.step)
                spent = limit_minutes is not None and time.monotonic() - begun > limit_minutes * 60
                if self._agree(spent or should_stop()):
                    break
                if time.monotonic() - saved > self.recipe.checkpoint_minutes * 60:
                    self.save()
                    saved = time.monotonic()
            self.save()
        finally:
            self.log.close()
        return self.step >= self.recipe.steps

    def _agree(self, stop: bool) -> bool:
        if self.world == 1 or self.step % 10:
            return stop if self.world == 1 else False
        flag = torch.tensor([float(stop)], device=self.device)
        dist.all_reduce(flag)
        return bool(flag.item() > 0)

    @property
    def name(self) -> str:
        """Of the network."""
        return self.module.network.config.name

    @property
    def weights(self) -> Path:
        """Where the averaged weights are kept, fp16."""
        return self.folder / f"{self.name}.safetensors"

    def write(self, path: Path) -> None:
        """Write the averaged weights into a file, fp16."""
        checkpoint.save(self.averaged(), path, self._notes())

    def averaged(self) -> RelaNetwork:
        """The network with the averaged weights, the one to keep.

        Its rough head follows the head until the prefilter's stage teaches it more.
        """
        with torch.random.fork_rng(devices=[]):  # looking at a run must not change what follows
            network = self.new_network(self.module.network.config)
        network.load_state_dict({n: v.cpu() for n, v in self.average.items()}, strict=False)
        if network.rough is not None:
            network.rough.begin_as(network.head)
        return network

    def save(self) -> None:
        """Write `last.pt` (everything that a resume needs) and the averaged weights in fp16.

        Raises:
            Diverged: the weights hold what is no number; nothing is written.
        """
        if self.rank:
            return
        largest = [value.abs().amax() for value in self.average.values() if value.numel()]
        self._check_finite({"weights": float(torch.stack(largest).amax())})
        state = {
            "module": self.module.state_dict(),
            "average": self.average,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "mean": self.mean,
            "legs": legs.written(self.legs),
            "config": json.dumps(self.module.network.config.to_dict()),
            "rng": torch.get_rng_state(),
        }
        if self.device.type == "cuda":
            state["cuda_rng"] = torch.cuda.get_rng_state(self.device)
        with replacing(self.folder / "last.pt") as part:
            torch.save(state, part)
        self.write(self.weights)
        self.saved_at = self.step

    def _notes(self) -> dict[str, str]:
        """What the weights' header tells. No time or place: equal runs make equal files."""
        return {"steps": str(self.step), "legs": legs.written(self.legs)}

    def _read_last(self) -> dict[str, Any]:
        path = self.folder / "last.pt"
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            missing = {"legs", "config", "mean", "step"} - set(state)
        except (RuntimeError, EOFError, OSError, ValueError, TypeError,
                pickle.UnpicklingError) as error:  # fmt: skip
            raise self._unusable(error) from error
        if missing:
            raise WeightsError(
                f"{path} was written by an older version and cannot be resumed; name another "
                "--out, with --start for the averaged weights beside it"
            )
        return dict(state)

    def _unusable(self, error: Exception) -> WeightsError:
        return WeightsError(
            f"{self.folder / 'last.pt'} cannot be resumed from: it is damaged, or of another "
            f"network or stage ({(str(error) or type(error).__name__).splitlines()[0]}); name "
            "another --out, or delete it to start anew"
        )

    def _resume(self, state: dict[str, Any]) -> None:
        try:
            self.module.load_state_dict(state["module"])
            self._take_optimizers(state["optimizers"], state["step"])
            self.average = {n: v.to(self.device) for n, v in state["average"].items()}
        except (RuntimeError, ValueError, KeyError) as error:
            raise self._unusable(error) from error
        self.step, self.elapsed_s, self.mean = state["step"], state["elapsed_s"], state["mean"]
        self.saved_at = self.step
        if self.rank == 0:
            self.log.cut(self.step)
        torch.set_rng_state(state["rng"].cpu())
        if "cuda_rng" in state and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_rng"].cpu(), self.device)

    def _take_optimizers(self, states: list[dict[str, Any]], step: int) -> None:
        """Their moments, not their settings: those are the recipe's.

        A leg that begins with other parts, or by another optimizer, begins with fresh ones.
        """

        def form(parts: list[list[dict[str, Any]]]) -> list[list[int]]:
            return [[len(group["params"]) for group in groups] for groups in parts]

        begins = len(self.legs) > 1 and self.legs[-1].after == step
        own = form([optimizer.param_groups for optimizer in self.optimizers])
        if begins and form([state["param_groups"] for state in states]) != own:
            return
        for optimizer, kept in zip(self.optimizers, states, strict=True):
            settings = [
                {k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups
            ]
            optimizer.load_state_dict(kept)
            for group, setting in zip(optimizer.param_groups, settings, strict=True):
                group.update(setting)


def to(batch: Batch, device: torch.device) -> Batch:
    """The batch on a device."""
    return batch if device.type == "cpu" else _moved(batch, device)


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, dict):
        return {name: _moved(item, device) for name, item in value.items()}
    if isinstance(value, Batch | Targets | PhotoTargets):
        return replace(value, **_moved(vars(value), device))
    return value
