"""Training the early-fusion network as the authors did: every pair looks at its photo anew."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from model.official.build import load_official, save_official
from model.official.config import OfficialConfig
from model.official.network import OfficialRela
from model.text import minilm_word_pieces
from training.data.batches import Batch, Source
from training.data.grefcoco import Dataset
from training.data.single_pairs import SinglePairs
from training.errors import DatasetError
from training.learning.early_losses import early_losses
from training.learning.losses import Sums
from training.learning.step import Step
from training.learning.train import Ready, Trainer
from training.photos.sources import Data
from training.recipes.recipe import Recipe

BERT_LAYERS = 10
"""Of BERT's layers learn, from the first on; its embeddings stay, as the authors have it."""


class EarlyStep(Step):
    """Network and losses as one module."""

    network: OfficialRela  # type: ignore[assignment]  # the other kind of network

    def __init__(self, network: OfficialRela) -> None:
        nn.Module.__init__(self)
        self.network, self.stage = network, "all"

    def forward(self, batch: Batch, ids: Tensor, mask: Tensor, recipe: Recipe) -> Sums:
        """Losses of one batch; token ids (E, T) and their mask (E, T)."""
        mask = mask.index_select(0, batch.text)
        words = self.network.read(ids.index_select(0, batch.text), mask)
        output = self.network(batch.pixels, words, mask)
        return early_losses(output, batch.masks, batch.no_target)


class EarlyTrainer(Trainer):
    """A run of an early-fusion network; see `Trainer`."""

    module: EarlyStep

    def _made(
        self, kept: dict[str, Any] | None, start: Path | None, data: Data, source: Source | None
    ) -> EarlyStep:
        config = self.recipe.network
        assert isinstance(config, OfficialConfig)
        if not isinstance(data, Dataset):
            raise DatasetError("the recipe paper trains on gRefCOCO's form alone; name --data")
        side = config.input_size
        if kept is not None:
            network = OfficialRela(OfficialConfig.from_dict(json.loads(kept["config"])))
        else:
            network = OfficialRela(config) if start is None else load_official(start)
        config = network.config = replace(network.config, input_size=side)
        # MiniLM carries the vocabulary of bert-base-uncased, which the networks are read with.
        self._word_pieces = minilm_word_pieces(config.max_tokens)
        self.sampler = source or SinglePairs(data, self.recipe, config, self.rank, self.world)
        return EarlyStep(network)

    def _freeze(self) -> None:
        bert = self.module.network.text_encoder
        self.module.requires_grad_(True)
        bert.requires_grad_(False)
        layers = bert.encoder["layer"]
        assert isinstance(layers, nn.ModuleList)
        layers[:BERT_LAYERS].requires_grad_(True)

    def new_optimizers(self) -> list[Optimizer]:
        """AdamW at one rate; norms, embeddings and position biases do not decay."""
        groups: dict[float, list[nn.Parameter]] = {self.recipe.weight_decay: [], 0.0: []}
        for module in self.module.modules():
            for name, p in module.named_parameters(recurse=False):
                spared = isinstance(module, nn.LayerNorm | nn.GroupNorm | nn.Embedding)
                spared = spared or name == "relative_position_bias_table"
                if p.requires_grad:
                    groups[0.0 if spared else self.recipe.weight_decay].append(p)
        rows = [
            {"params": params, "weight_decay": decay, "factor": 1.0}
            for decay, params in groups.items()
        ]
        return [torch.optim.AdamW(rows, lr=self.recipe.learning_rate, fused=True)]

    def _read(self, ready: Ready) -> Ready:
        """With the token ids and mask of a batch's texts: BERT itself learns."""
        ids, mask = self._word_pieces(ready.batch.texts)
        ids %= self.module.network.config.text.vocab_size  # a small network knows fewer words
        return Ready(ready.batch, (ids.to(self.device), mask.to(self.device)))

    def write(self, path: Path) -> None:
        """Write the averaged weights into a file, fp16."""
        network = self.module.network
        with torch.random.fork_rng(devices=[]):  # looking at a run must not change what follows
            made = OfficialRela(network.config)
        made.load_state_dict({n: v.cpu() for n, v in self.average.items()}, strict=False)
        save_official(made, path, self._notes())
