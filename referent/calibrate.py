"""`referent calibrate`: fit how a model's no-target score is read, and the operating points."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from referent.evaluate import PHOTOS, pairs_of, parse, read_photos
from referent.options import Device

if TYPE_CHECKING:
    from model.calibration import Calibration


def calibrate(
    model: Annotated[
        str, typer.Argument(help="a model's name, a weights file, or an imported verifier's name")
    ] = "rela-mini",
    data: Annotated[
        str,
        typer.Option(
            help="synthetic:val, photos:val, or a folder in the gRefCOCO form (DIR:SPLIT); never "
            "the set that you report figures on"
        ),
    ] = "synthetic:val",
    pack: Annotated[
        Path | None, typer.Option(help="annotated photographs in COCO's form, for photos:val")
    ] = None,
    precision: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=1.0, help="aim at this precision in albums instead of the best F1"
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="write here instead of beside the weights")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the calibration as JSON")] = False,
    album: Annotated[
        str | None,
        typer.Option(help="fit this album's own decision from the verdicts given on its hits"),
    ] = None,
    verifier: Annotated[
        str | None,
        typer.Option(help="with --album: fit this verifier's decision there, not the head's"),
    ] = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="with --album: go back to the model's calibration")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="a tenth of the synthetic sets")] = False,
    device: Device = "cpu",
) -> None:
    """Fit temperature, bias, prior and operating points on held-out data.

    They are kept in NAME.calibration.json beside the weights, under a revision of their own: no
    photo has to be indexed again. The default operating point is the one for albums, where most
    photos do not match.

    An imported verifier (rela-official-tiny, rela-official-base) is fitted on pairs alone: it looks
    at every photo again for each expression, which takes seconds a pair on a CPU (--quick: 416).

    With --album the album's own decision is fitted from marked hits and kept in the catalog; the
    held-out error is printed before and after, and nothing is kept where it does not fall.
    """
    if album is None and (reset or verifier is not None):
        raise typer.BadParameter(
            "--reset and --verifier go with --album; to fit a verifier on pairs, name it as MODEL"
        )
    if album is not None:
        calibrate_album(album, verifier=verifier, reset=reset, as_json=as_json)
        return
    from model.official.config import OFFICIAL

    if model in OFFICIAL:
        fitted, path = calibrate_verifier(
            model, data, precision=precision, quick=quick, device=device
        )
    else:
        fitted, path = calibrate_model(
            model, data, precision=precision, quick=quick, device=device, pack=pack
        )
    path = out or path
    fitted.save(path)
    if as_json:
        typer.echo(json.dumps({"path": str(path), **fitted.to_dict()}, indent=2))
    else:
        typer.echo(
            f"{path}: revision {fitted.revision}, temperature {fitted.temperature:.3f}, bias "
            f"{fitted.bias:+.3f}, prior shift {fitted.prior_shift:+.3f}, threshold "
            f"{fitted.threshold:.3f}"
        )


def calibrate_model(
    model: str,
    data: str,
    *,
    precision: float | None,
    quick: bool,
    device: str,
    pack: Path | None = None,
) -> tuple[Calibration, Path]:
    """Fit a model's calibration; it, and the file beside the weights that it belongs in.

    Raises:
        DatasetError: the data cannot be read. CalibrationError: they cannot be fitted to.
    """
    from model.build import load_predictor, weights_of
    from model.calibration import path_beside
    from training.measuring import suite, testsets

    name, split = parse(data)
    path = path_beside(weights_of(model))  # a random network has none: say so before the work
    predictor = load_predictor(model, device=device)
    if name == PHOTOS:
        album = read_photos(pack, predictor.config.mask_side)
        return suite.calibrate_photos(predictor, album, precision=precision), path
    if name != "synthetic":
        folder = Path(name)
        fitted = suite.calibrate_folder(predictor, folder, split, precision=precision)
        return fitted, path
    sizes = testsets.QUICK if quick else testsets.FULL
    return suite.calibrate(predictor, split or "val", sizes, precision=precision), path


def calibrate_verifier(
    name: str, data: str, *, precision: float | None, quick: bool, device: str
) -> tuple[Calibration, Path]:
    """Fit a verifier's calibration; it, and the file beside the imported weights.

    Raises:
        WeightsError: the verifier was not imported here.
    """
    from indexer.settings import Settings
    from model.calibration import path_beside
    from referent.networks import load_network
    from search_api.search.verifier import weights_of_verifier
    from training.measuring import suite

    weights = weights_of_verifier(Settings(), name)
    network = load_network(name, device)
    pairs = pairs_of(*parse(data), quick=quick, usual="val")
    return suite.calibrate_verifier(network, pairs, precision=precision), path_beside(weights)


def calibrate_album(album: str, *, verifier: str | None, reset: bool, as_json: bool) -> None:
    """Fit an album's decision to its verdicts and keep it if its held-out error is smaller.

    Raises:
        UnknownAlbum, NotIndexed, TooFewMarks; UnknownModel, WeightsError: no such verifier here.
    """
    from tqdm import tqdm

    from indexer.settings import Settings
    from search_api.search import album_decisions, corrections
    from search_api.search.albums import album_id_of
    from search_api.search.engine import Engine

    with Engine.open(Settings()) as engine:
        album_id = album_id_of(engine.catalog, album)
        if reset:
            fingerprint = corrections.decider(engine, album_id, verifier)[1]
            dropped = album_decisions.reset(engine.catalog, album_id, fingerprint)
            told = {"album": album, "dropped": dropped}
            typer.echo(
                json.dumps(told)
                if as_json
                else f"{album}: {dropped or 'no'} calibration of its own dropped; "
                f"{verifier or 'the model'}'s decides"
            )
            return
        with tqdm(unit=" verdicts", disable=None, leave=False) as bar:

            def show(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            fit = corrections.fit_album(engine, album_id, verifier=verifier, progress=show)
        if fit.helps:
            album_decisions.keep(engine.catalog, album_id, fit.calibration)
    if as_json:
        values = {
            "album": album,
            "verifier": verifier,
            "kept": fit.helps,
            "marks": fit.marks,
            "log_loss": {"before": fit.log_loss_before, "after": fit.log_loss_after},
            "wrong": {"before": fit.wrong_before, "after": fit.wrong_after},
        }
        typer.echo(json.dumps(values | {"calibration": fit.calibration.to_dict()}, indent=2))
        return
    typer.echo(
        f"{album}: {fit.marks} verdicts; held out, log loss {fit.log_loss_before:.3f} before and "
        f"{fit.log_loss_after:.3f} after, wrong decisions {fit.wrong_before:.1%} before and "
        f"{fit.wrong_after:.1%} after"
    )
    typer.echo(
        f"kept as revision {fit.calibration.revision}"
        if fit.helps
        else "not kept: it does not help on verdicts that it has not seen; mark more hits"
    )


EXAMPLE = (
    "Example: `referent calibrate rela-mini --data synthetic:val`, "
    "`referent calibrate --album holiday`, "
    "`referent calibrate rela-official-base --data grefcoco:val`"
)
setattr(calibrate, "epilog", EXAMPLE)  # noqa: B010
