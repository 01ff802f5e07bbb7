"""`referent evaluate`: how good a model is, in numbers and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from referent.options import Device
from referent.score import table

if TYPE_CHECKING:
    from model.asking import Network
    from training.measuring.judging import PairSet
    from training.measuring.suite import Evaluation
    from training.photos.scenes import Album

PHOTOS = "photos"
MASK_SIDE = 96  # at which photographs are told where no network says another: rela-photo's
SPLIT_HELP = (
    "synthetic:test, synthetic:val, photos:val (the kept-out fifth of the pack that --pack or "
    "REFERENT_PHOTO_PACK names), or a folder in the gRefCOCO form (DIR or DIR:SPLIT)"
)


def evaluate(
    model: Annotated[
        str, typer.Argument(help="a model's name, a weights file, or an imported network's name")
    ] = "rela-mini",
    data: Annotated[str, typer.Option(help=SPLIT_HELP)] = "synthetic:test",
    report: Annotated[
        Path | None, typer.Option(help="write report.md with pictures into this folder")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print all figures as JSON")] = False,
    pack: Annotated[
        Path | None, typer.Option(help="annotated photographs in COCO's form, for photos:val")
    ] = None,
    quick: Annotated[
        bool, typer.Option(help="a tenth of the sets that have no folder: not to be compared")
    ] = False,
    protocol: Annotated[
        str,
        typer.Option(help="tables by paper, gres480 (the authors' evaluator, exactly) or both"),
    ] = "both",
    strict: Annotated[
        bool, typer.Option("--strict", help="refuse a folder with rows or photos of no use")
    ] = False,
    device: Device = "cpu",
) -> None:
    """Measure any network: `referent predict` and `referent score` in one, and album retrieval.

    Albums are searched by late-fusion networks alone. Operating points are the ones that `referent
    calibrate` chose on validation and keeps beside the weights; a model without them is calibrated
    on `synthetic:val` first, where drawings are measured.
    """
    import json

    from referent.networks import load_network
    from referent.score import protocols_of
    from training.measuring.report import summary, write_report

    shown = protocols_of(protocol)
    name, split = parse(data)
    network = load_network(model, device)
    evaluation = run(network, name, split, quick=quick, pack=pack, strict=strict)
    if report is not None:
        title = f"{network.name} on {data}"
        path = write_report(report, title, evaluation.figures, evaluation.examples, network)
        typer.echo(f"report: {path}", err=True)
    figures = evaluation.figures
    told = figures.get("protocols", {})
    for other in {"paper", "gres480"} - set(shown):
        told.pop(other, None)
    if as_json:
        typer.echo(json.dumps(figures, indent=2))
    else:
        typer.echo(summary(figures))
        if told:
            typer.echo(f"\n{table(told)}")


EXAMPLE = "Example: `referent evaluate rela-mini --data synthetic:test --report runs/report`"
setattr(evaluate, "epilog", EXAMPLE)  # noqa: B010


def run(
    network: Network,
    name: str,
    split: str,
    *,
    quick: bool = False,
    pack: Path | None = None,
    strict: bool = False,
) -> Evaluation:
    """Evaluate on the data set that `parse` found."""
    from model.asking import LateFusion
    from training.measuring import suite, testsets

    if isinstance(network, LateFusion) and not quick and name == PHOTOS:
        predictor = network.predictor
        return suite.evaluate_photos(predictor, read_photos(pack, predictor.config.mask_side))
    if isinstance(network, LateFusion) and name == "synthetic":
        sizes = testsets.QUICK if quick else testsets.FULL
        return suite.evaluate_synthetic(network.predictor, split or "test", sizes)
    return suite.evaluate_pairs(
        network, pairs_of(name, split, quick=quick, pack=pack, strict=strict)
    )


def pairs_of(
    name: str,
    split: str,
    *,
    quick: bool = False,
    pack: Path | None = None,
    strict: bool = False,
    usual: str = "test",
    mask_side: int = MASK_SIDE,
) -> PairSet:
    """The pairs of photo and expression of the data set that `parse` found.

    Args:
        quick: a tenth of the sets that have no folder.
        pack: of `photos:val`.
        strict: refuse a folder with rows or photos of no use.
        usual: the split of drawings where none is named.
        mask_side: at which photographs are told.
    Raises:
        DatasetError: they cannot be read.
    """
    from training.measuring import photo_sets, suite, testsets

    if name == "synthetic":
        return testsets.pairs(split or usual, testsets.QUICK if quick else testsets.FULL)
    if name == PHOTOS:
        pairs = photo_sets.pairs(read_photos(pack, mask_side))
        return pairs.of_every(10) if quick else pairs
    return suite.folder_pairs(Path(name), split, strict=strict)


def parse(data: str) -> tuple[str, str]:
    """Split "synthetic:SPLIT", "DIR:SPLIT" or either alone into name and split ("" if none).

    Raises:
        DatasetError: neither "synthetic" with a known split nor a folder.
    """
    from training.errors import DatasetError
    from training.scene import SPLITS

    name, _, split = data.partition(":") if not Path(data).exists() else (data, "", "")
    if name == PHOTOS:
        if split not in ("", "val"):
            raise DatasetError(f"{data}: of photographs only the split val is kept out of training")
    elif name == "synthetic":
        if split not in ("", *SPLITS):
            raise DatasetError(f"{data}: a split is one of {', '.join(SPLITS)}")
    elif not Path(name).exists():
        raise DatasetError(
            f"{name} is no data set: give synthetic:test, or a folder with grefs(unc).json (or "
            "RefCOCO's refs), instances.json and the photos (`referent synth` writes one)"
        )
    return name, split


def read_photos(pack: Path | None, mask_side: int) -> Album:
    """A pack of photographs, told at the size of a model's masks.

    Raises:
        DatasetError: none is named, or it cannot be read.
    """
    from training.photos.data import CACHE, pack_folder
    from training.photos.pack import read_pack
    from training.photos.scenes import read_album

    return read_album(read_pack(pack_folder(pack)), CACHE / "scenes", mask_side)
