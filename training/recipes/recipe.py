"""What a training run is made of: frozen, validated, recorded beside the weights it makes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from model.build import config_of
from model.errors import ModelError
from model.network.config import ReLAConfig
from model.official.config import OFFICIAL, OfficialConfig
from training.language.builders import KINDS


@dataclass(frozen=True)
class LossWeights:
    """What each loss counts. The reference has mask 5, minimap 0.5, no_target 0.5, nothing else."""

    mask: float = 2.0
    """Cross-entropy of the mask M, on pairs that have a target."""
    dice: float = 2.0
    """Dice of the mask (target IoU .48 with, .18 without, after equal short runs)."""
    minimap: float = 0.5
    """Cross-entropy of x_r against the mask at P x P."""
    no_target: float = 1.0
    """Cross-entropy of E."""
    regions: float = 1.0
    """What each region shows: category, colours, place of its instance (needs a scene graph)."""
    dense: float = 1.0
    """The same read-out a pixel, of the decoder's features at stride 8."""
    region_masks: float = 1.0
    """Language-free mask of each region's instance."""
    prefilter: float = 0.0
    """Sigmoid contrast of sentence and region vectors, on features that it cannot change."""
    overlap: float = 0.0
    """Photographs: what masks of an expression and of what it leaves out share."""
    deep: float = 0.0
    """Factor on mask, Dice, minimap and no-target losses of the RLA layers before the last."""
    mask_everywhere: bool = False
    """Mask and Dice also on pairs without a target, towards empty masks, as the paper has it."""
    minimap_rule: Literal["third", "mean"] = "third"
    """What of a cell counts as all of it for the minimap: a third of it, or nothing less than all
    (its share is the target), which is the paper's downsampled mask."""


@dataclass(frozen=True)
class Recipe:
    """One training run."""

    model: str | ReLAConfig | OfficialConfig
    """A size of `model.build.SIZES`, a released network's of `model.official.config.OFFICIAL`, or a
    configuration of its own."""
    data: Literal["synthetic", "grefcoco", "photos"] = "synthetic"
    """Rendered photos with scene graphs, a folder in gRefCOCO's form, or annotated photographs."""
    start: str = ""
    """Where the weights come from when nothing else is named: see `training.learning.session`."""
    stage: Literal["all", "decoder", "head", "prefilter"] = "all"
    """Which parts learn: everything, all behind a frozen stem, the head on frozen tokens, or
    projections and rough head of the prefilter."""
    photos: int = 20_000
    """Synthetic photos that are rendered once."""
    steps: int = 10_000
    """Optimizer steps."""
    batch: int = 16
    """Photos a step, over all processes."""
    accumulate: int = 1
    """Batches that are added up before a step."""
    positives: int = 5
    """Expressions a photo that refer to something in it."""
    false_ones: int = 3
    """No-target expressions a photo that nearly fit it (rule 1)."""
    crossed: int = 7
    """Expressions a photo that were written for other photos of the batch (rule 2, albums)."""
    complements: float = 0.0
    """Photographs: share of a photo's own expressions beside which stands what they leave out."""
    absent: int = 1
    """Expressions a photo for things that no photo shows (photographs: of known content)."""
    nouns: tuple[int, int] = (1, 2)
    """Photographs: plain nouns a photo, of kinds that are there and of kinds that are not."""
    composites: int = 0
    """Photographs: pictures made by pasting their things into each other."""
    drawings: int = 0
    """Photographs: drawn photos that stand beside them."""
    kinds: tuple[str, ...] = ()
    """Synthetic: kinds of a photo's own and false expressions; one named twice is drawn twice as
    often. Empty: all alike."""
    one_target: bool = False
    """Ask only expressions that refer to exactly one thing, as classic data sets do: no other pair
    is drawn, whatever the numbers above say. Not for photographs."""
    slips: float = 0.0
    """Synthetic: share of a photo's own and absent expressions that get one typing slip more."""
    learning_rate: float = 1.5e-3
    """Peak; half a cosine follows a linear warm-up."""
    drops: tuple[int, ...] = ()
    """Steps after which the rate is a tenth of what it was, instead of the cosine."""
    backbone_rate: float = 1.0
    """Factor on it for Swin; 0.1 where Swin starts from trained weights."""
    ria_rate: float = 1.0
    """Factor on it for the region decoder, whose norms come after its sums."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """Muon takes the matrices and leaves the rest to AdamW."""
    warmup: int = 300
    """Steps of the warm-up."""
    weight_decay: float = 0.05
    """AdamW's, on matrices only."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    ema: float = 0.999
    """Decay of the averaged weights, which are what is kept."""
    flip: bool = True
    """Mirror half of the photos and swap left and right in their expressions."""
    jitter: float = 0.15
    """Largest random change of brightness and contrast."""
    bf16: bool = True
    """Forward pass in bfloat16, on devices that multiply it natively."""
    seed: int = 1
    """Of the network's start."""
    data_seed: int = 1
    """Of the photos that are drawn and of every draw of photos and expressions, 1 to 999."""
    checkpoint_minutes: float = 5.0
    """How often the run is saved."""
    teacher: tuple[int, int] = (1600, 1200)
    """Prefilter stage: photos, and expressions that the head judges them by."""
    group: int = 200
    """Prefilter stage: photos that an expression is judged on, drawn anew for each hundred."""
    prior_shift: float = 1.7
    """Prefilter stage: how much lower, in log-odds, an album's prior of a match is than that of the
    training pairs. The head's verdicts are lowered by it, so that what it returns is learned, not
    what it thinks possible: rela-mini's threshold in albums lies at p = .82 of the pairs' prior."""
    similar: float = 0.6
    """gRefCOCO: an expression this close (cosine) to one of a photo's own is not asked of it."""
    losses: LossWeights = field(default_factory=LossWeights)

    def __post_init__(self) -> None:
        """Refuse what cannot run, naming the field."""
        for name in ("photos", "steps", "batch", "accumulate", "group"):
            if getattr(self, name) < 1:
                raise ModelError(f"recipe: {name} must be at least 1, not {getattr(self, name)}")
        if self.positives + self.false_ones + self.crossed + self.absent < 1:
            raise ModelError("recipe: a photo needs at least one expression")
        if unknown := set(self.kinds) - set(KINDS):
            raise ModelError(
                f"recipe: no kind of expression is called {', '.join(sorted(unknown))}"
            )
        if not 1 <= self.data_seed < 1000:
            raise ModelError(f"recipe: data_seed must lie in 1 to 999, not {self.data_seed}")
        if self.one_target and self.data == "photos":
            raise ModelError("recipe: one_target is for drawings and references, not photographs")
        if not 0 <= self.ema < 1:
            raise ModelError(f"recipe: ema must lie in 0 to 1, not {self.ema}")

    @property
    def network(self) -> ReLAConfig | OfficialConfig:
        """What the network is made of."""
        if not isinstance(self.model, str):
            return self.model
        return OFFICIAL[self.model] if self.model in OFFICIAL else config_of(self.model)

    @property
    def config(self) -> ReLAConfig:
        """What a late-fusion network is made of.

        Raises:
            ModelError: the recipe is of an early-fusion one.
        """
        network = self.network
        if isinstance(network, OfficialConfig):
            raise ModelError(
                f"{network.name} hears the expression from the first stage on; train it with the "
                "recipe paper"
            )
        return network

    @property
    def pairs(self) -> int:
        """Expressions a photo, at most."""
        return self.positives + self.false_ones + self.crossed + self.absent

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return dataclasses.asdict(self)
