"""The trainer: one vision pass a photo, many expressions for it, resumable to the bit.

Runs alone or under `torchrun`; every process draws its share of the same batches.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from model import checkpoint
from model.build import config_of
from model.errors import WeightsError
from model.rela import Encoded, RelaNetwork
from model.rla import HeadOutput
from model.text import TextEncoder
from training.batches import Batch, Sampler
from training.losses import RegionReadout, losses_of, total
from training.recipe import Recipe
from training.shards import Shards


class Step(nn.Module):
    """Network and read-out as one module: what one training step runs, and what DDP wraps."""

    def __init__(self, network: RelaNetwork, stage: str) -> None:
        super().__init__()
        self.network = network
        self.readout = RegionReadout(network.config.channels)
        self.stage = stage

    def forward(
        self, batch: Batch, features: Tensor, mask: Tensor, recipe: Recipe
    ) -> dict[str, Tensor]:
        """Losses of one batch; features (E, T, C_t) and mask (E, T) of its texts."""
        encoded, output = self.run(batch, features, mask)
        return losses_of(self.network, self.readout, batch, encoded, output, recipe.losses)

    def run(self, batch: Batch, features: Tensor, mask: Tensor) -> tuple[Encoded, HeadOutput]:
        """Encode the photos once, judge every pair."""
        net = self.network
        with torch.set_grad_enabled(self.stage == "all" and torch.is_grad_enabled()):
            encoded = net.decode(net.pyramid(batch.pixels))
        words = net.words(features, mask)
        tokens = net.tokens(encoded.regions).select(batch.photo)
        output = net.judge(
            tokens, words.index_select(0, batch.text), mask.index_select(0, batch.text)
        )
        return encoded, output


@dataclass
class Progress:
    """What a caller is told every few steps."""

    step: int
    steps: int
    losses: dict[str, float]
    photos_per_s: float
    elapsed_s: float


class Trainer:
    """One run in a folder of its own: `last.pt`, `log.jsonl`, TensorBoard files.

    Args:
        recipe: what to do. shards: on what. folder: where to keep the run.
        device: "cpu" or "cuda".
        start: weights to begin with; a run that is resumed ignores them.
    """

    def __init__(
        self,
        recipe: Recipe,
        shards: Shards,
        folder: Path,
        device: str = "cpu",
        start: Path | None = None,
    ) -> None:
        self.recipe, self.folder = recipe, folder
        self.rank = int(os.environ.get("RANK", "0"))
        self.world = int(os.environ.get("WORLD_SIZE", "1"))
        if self.world > 1 and not dist.is_initialized():
            dist.init_process_group("nccl" if device == "cuda" else "gloo")
        if device == "cuda" and self.world > 1:
            device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        self.device = torch.device(device)
        torch.manual_seed(recipe.seed)
        config = config_of(recipe.model)
        network = checkpoint.load(start) if start is not None else RelaNetwork(config)
        self.text = TextEncoder(config.text).to(self.device)
        self.module = Step(network, recipe.stage).to(self.device)
        self.sampler = Sampler(shards, recipe, config.regions_per_side, self.rank, self.world)
        self._freeze()
        self.wrapped: nn.Module = self.module
        if self.world > 1:
            self.wrapped = DistributedDataParallel(self.module, find_unused_parameters=True)
        self.optimizer = torch.optim.AdamW(self._groups(), lr=recipe.learning_rate, fused=True)
        self.average = {n: p.detach().clone() for n, p in self._state()}
        self.step = 0
        self.elapsed_s = 0.0
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "last.pt").exists():
            self._resume()

    def _freeze(self) -> None:
        net = self.module.network
        net.vector_pool.requires_grad_(False)
        net.words.sentence.requires_grad_(False)
        if self.recipe.stage == "head":
            for part in (net.backbone, net.pixel_decoder, net.ria):
                part.requires_grad_(False)

    def _groups(self) -> list[dict[str, Any]]:
        r = self.recipe
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, p in self.module.named_parameters():
            if p.requires_grad:
                decays = p.ndim > 1 and "relative_position" not in name and "query" not in name
                groups.setdefault((decays, ".backbone." in name), []).append(p)
        return [
            {
                "params": params,
                "weight_decay": r.weight_decay if decays else 0.0,
                "factor": r.backbone_rate if backbone else 1.0,
            }
            for (decays, backbone), params in groups.items()
        ]

    def _state(self) -> list[tuple[str, Tensor]]:
        state = self.module.network.state_dict()
        return [(n, p) for n, p in state.items() if p.is_floating_point()]

    def rate(self, step: int) -> float:
        """Learning rate of a step: linear warm-up, then half a cosine to a hundredth."""
        r = self.recipe
        if step < r.warmup:
            return r.learning_rate * (step + 1) / r.warmup
        done = min(1.0, (step - r.warmup) / max(1, r.steps - r.warmup))
        return r.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))

    def _words(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Word features of a batch's texts, cut to the longest of them."""
        ids, mask = self.text.tokenize(batch.texts)
        length = int(mask.sum(1).max())
        ids, mask = ids[:, :length].to(self.device), mask[:, :length].to(self.device)
        with (
            torch.no_grad(),
            torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.bf16),
        ):
            features = self.text.bert(ids, attention_mask=mask).last_hidden_state
        return features.float(), mask.bool()

    def _one(self) -> dict[str, float]:
        r = self.recipe
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(self.step) * group["factor"]
        sums: dict[str, float] = {}
        for part in range(r.accumulate):
            batch = to(self.sampler.batch(self.step * r.accumulate + part), self.device)
            features, mask = self._words(batch)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=r.bf16):
                found = self.wrapped(batch, features, mask, r)
            loss = total(found, r.losses) / r.accumulate
            loss.backward()
            for name, value in {**found, "total": loss.detach() * r.accumulate}.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach()) / r.accumulate
        nn.utils.clip_grad_norm_(self.module.parameters(), r.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        decay = min(r.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self._state():
                self.average[name].lerp_(value, 1 - decay)
        return sums

    def run(
        self,
        progress: Callable[[Progress], None] = lambda _: None,
        limit_minutes: float | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Train until the recipe's steps are done, or the time is; saves at the end.

        Returns:
            True when the recipe is done, False when it stopped early and can be resumed.
        """
        self.module.train()
        self.text.eval()
        begun, saved, offset = time.monotonic(), time.monotonic(), self.elapsed_s
        mean: dict[str, float] = {}
        while self.step < self.recipe.steps:
            tick = time.monotonic()
            losses = self._one()
            took = time.monotonic() - tick
            for name, value in losses.items():
                mean[name] = value if name not in mean else 0.98 * mean[name] + 0.02 * value
            self.elapsed_s = offset + time.monotonic() - begun
            if self.rank == 0:
                if self.step % 20 == 0:
                    self._log({"step": self.step, "lr": self.rate(self.step), **mean,
                               "elapsed_s": round(self.elapsed_s, 1)})  # fmt: skip
                speed = self.recipe.batch * self.recipe.accumulate / took
                progress(Progress(self.step, self.recipe.steps, mean, speed, self.elapsed_s))
            spent = limit_minutes is not None and time.monotonic() - begun > limit_minutes * 60
            if self._agree(spent or should_stop()):
                break
            if time.monotonic() - saved > self.recipe.checkpoint_minutes * 60:
                self.save()
                saved = time.monotonic()
        self.save()
        return self.step >= self.recipe.steps

    def _agree(self, stop: bool) -> bool:
        if self.world == 1 or self.step % 10:
            return stop if self.world == 1 else False
        flag = torch.tensor([float(stop)], device=self.device)
        dist.all_reduce(flag)
        return bool(flag.item() > 0)

    def _log(self, row: dict[str, Any]) -> None:
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")

    def averaged(self) -> RelaNetwork:
        """The network with the averaged weights, the one to keep."""
        network = RelaNetwork(self.module.network.config)
        network.load_state_dict({n: v.cpu() for n, v in self.average.items()}, strict=False)
        return network

    def save(self) -> None:
        """Write `last.pt` (everything that a resume needs) and the averaged weights in fp16."""
        if self.rank:
            return
        state = {
            "module": self.module.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "rng": torch.get_rng_state(),
        }
        partial = self.folder / ".last.partial"
        torch.save(state, partial)
        partial.replace(self.folder / "last.pt")
        notes = {"steps": str(self.step), "minutes": f"{self.elapsed_s / 60:.1f}",
                 "recipe": json.dumps(self.recipe.to_dict())}  # fmt: skip
        checkpoint.save(self.averaged(), self.folder / f"{self.recipe.model}.safetensors", notes)

    def _resume(self) -> None:
        path = self.folder / "last.pt"
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
        except (RuntimeError, EOFError, OSError) as error:
            raise WeightsError(
                f"{path} cannot be read ({error}); delete it to start anew"
            ) from error
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average = {n: v.to(self.device) for n, v in state["average"].items()}
        self.step, self.elapsed_s = state["step"], state["elapsed_s"]
        torch.set_rng_state(state["rng"].cpu())


def to(batch: Batch, device: torch.device) -> Batch:
    """The batch on a device."""
    if device.type == "cpu":
        return batch
    moved: dict[str, Any] = {
        name: value.to(device, non_blocking=True)
        for name, value in vars(batch).items()
        if isinstance(value, Tensor)
    }
    classes = {n: v.to(device, non_blocking=True) for n, v in batch.region_class.items()}
    return replace(batch, **moved, region_class=classes)
