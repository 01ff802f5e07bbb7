"""`referent evaluate`: how good a model is, in numbers and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from referent.score import scored, table

if TYPE_CHECKING:
    from model.predictor import Predictor
    from training.measuring.suite import Evaluation
    from training.photos.scenes import Album

SPLIT_HELP = (
    "synthetic:test, synthetic:val, photos:val (the kept-out fifth of the pack that --pack or "
    "REFERENT_PHOTO_PACK names), or a folder in the gRefCOCO form (DIR or DIR:SPLIT)"
)


def evaluate(
    model: Annotated[str, typer.Argument(help="a model's name, or a weights file")] = "rela-mini",
    data: Annotated[str, typer.Option(help=SPLIT_HELP)] = "synthetic:test",
    report: Annotated[
        Path | None, typer.Option(help="write report.md with pictures into this folder")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print all figures as JSON")] = False,
    pack: Annotated[
        Path | None, typer.Option(help="annotated photographs in COCO's form, for photos:val")
    ] = None,
    quick: Annotated[
        bool, typer.Option(help="a tenth of the synthetic sets: not the figures to compare")
    ] = False,
    protocol: Annotated[
        str | None,
        typer.Option(
            help="of a folder: paper, gres480 (the authors' evaluator, exactly) or both, with "
            "intervals, as `referent predict` and `referent score`; imported networks always so"
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="refuse a folder with rows or photos of no use")
    ] = False,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
) -> None:
    """Measure a model: segmentation, the no-target decision, album retrieval, calibration.

    Operating points are the ones that `referent calibrate` chose on validation and keeps beside
    the weights; a model without them is calibrated on `synthetic:val` first.
    """
    import json

    from model.build import load_predictor
    from referent.networks import released_weights
    from training.measuring.report import summary, write_report

    name, split = parse(data)
    if protocol is not None or released_weights(model) is not None:
        if report is not None:
            raise typer.BadParameter("--report goes without --protocol and imported networks")
        told = by_protocol(model, name, split, protocol or "both", strict=strict, device=device)
        typer.echo(json.dumps(told, indent=2) if as_json else table(told))
        return
    predictor = load_predictor(model, device=device)
    evaluation = run(predictor, name, split, quick=quick, pack=pack, strict=strict)
    if report is not None:
        title = f"{predictor.name} on {data}"
        path = write_report(report, title, evaluation.figures, evaluation.examples, predictor)
        typer.echo(f"report: {path}", err=True)
    if as_json:
        typer.echo(json.dumps(evaluation.figures, indent=2))
    else:
        typer.echo(summary(evaluation.figures))


def by_protocol(
    model: str, name: str, split: str, protocol: str, *, strict: bool, device: str
) -> dict[str, Any]:
    """Predict and score in one: any network on a folder, as JSON.

    Raises:
        DatasetError: the data are no folder in the gRefCOCO form.
    """
    from functools import partial
    from tempfile import TemporaryDirectory

    from referent.networks import load_network
    from training.errors import DatasetError
    from training.measuring import scoring, suite
    from training.measuring.predicting import predict

    if protocol not in (*scoring.PROTOCOLS, "both"):
        raise typer.BadParameter("--protocol is paper, gres480 or both")
    if not Path(name).exists():
        raise DatasetError(f"{name}: by protocol, a folder in the gRefCOCO form is evaluated")
    pairs = suite.folder_pairs(Path(name), split, strict=strict)
    assert isinstance(pairs.photos, suite.FolderPhotos)
    with TemporaryDirectory() as folder:
        out = Path(folder) / "predictions.jsonl"
        predict(partial(load_network, model, device), pairs.photos, out)
        return scored([out], pairs, protocol)


PHOTOS = "photos"

EXAMPLE = "Example: `referent evaluate rela-mini --data synthetic:test --report runs/report`"
setattr(evaluate, "epilog", EXAMPLE)  # noqa: B010


def run(
    predictor: Predictor,
    name: str,
    split: str,
    *,
    quick: bool = False,
    pack: Path | None = None,
    strict: bool = False,
) -> Evaluation:
    """Evaluate on the data set that `parse` found."""
    from training.measuring import suite, testsets

    if name == PHOTOS:
        return suite.evaluate_photos(predictor, read_photos(pack, predictor.config.mask_side))

    if name == "synthetic":
        sizes = testsets.QUICK if quick else testsets.FULL
        return suite.evaluate_synthetic(predictor, split or "test", sizes)
    return suite.evaluate_pairs(predictor, suite.folder_pairs(Path(name), split, strict=strict))


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
