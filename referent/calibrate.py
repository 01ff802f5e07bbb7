"""`referent calibrate`: fit how a model's no-target score is read, and the operating points."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from referent.evaluate import parse


def calibrate(
    model: Annotated[str, typer.Argument(help="a model's name, or a weights file")] = "rela-mini",
    data: Annotated[
        str, typer.Option(help="synthetic:val; never the set that you report figures on")
    ] = "synthetic:val",
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
    reset: Annotated[
        bool, typer.Option("--reset", help="with --album: go back to the model's calibration")
    ] = False,
    quick: Annotated[bool, typer.Option(help="a tenth of the synthetic sets")] = False,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
) -> None:
    """Fit temperature, bias, prior and operating points on held-out data.

    They are kept in NAME.calibration.json beside the weights, under a revision of their own: no
    photo has to be indexed again. The default operating point is the one for albums, where most
    photos do not match.

    With --album the album's own decision is fitted from marked hits and kept in the catalog; the
    held-out error is printed before and after, and nothing is kept where it does not fall.
    """
    if album is not None:
        calibrate_album(album, reset=reset, as_json=as_json)
        return
    import json

    from model.build import load_predictor, weights_of
    from model.calibration import path_beside
    from training import suite, testsets
    from training.errors import DatasetError

    name, split = parse(data)
    if name != "synthetic":
        raise DatasetError("calibration needs albums with known truth: give synthetic:val")
    # A random network has no weights file to lie beside.
    path = out or path_beside(weights_of(model))
    predictor = load_predictor(model, device=device)
    sizes = testsets.QUICK if quick else testsets.FULL
    fitted = suite.calibrate(predictor, split or "val", sizes, precision=precision)
    fitted.save(path)
    if as_json:
        typer.echo(json.dumps({"path": str(path), **fitted.to_dict()}, indent=2))
    else:
        typer.echo(
            f"{path}: revision {fitted.revision}, temperature {fitted.temperature:.3f}, bias "
            f"{fitted.bias:+.3f}, prior shift {fitted.prior_shift:+.3f}, threshold "
            f"{fitted.threshold:.3f}"
        )


def calibrate_album(album: str, *, reset: bool, as_json: bool) -> None:
    """Fit an album's decision to its verdicts and keep it if its held-out error is smaller.

    Raises:
        UnknownAlbum, NotIndexed, TooFewMarks.
    """
    import json

    from indexer.settings import Settings
    from search_api import corrections
    from search_api.albums import album_id_of
    from search_api.engine import Engine

    with Engine.open(Settings()) as engine:
        album_id = album_id_of(engine.catalog, album)
        if reset:
            dropped = corrections.reset(engine.catalog, album_id)
            told = {"album": album, "dropped": dropped}
            typer.echo(
                json.dumps(told)
                if as_json
                else f"{album}: {dropped} calibrations of its own dropped; the model's one decides"
            )
            return
        fit = corrections.fit_album(engine, album_id)
        if fit.helps:
            corrections.keep(engine.catalog, album_id, fit.calibration)
    if as_json:
        values = {
            "album": album,
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
    "`referent calibrate --album holiday`"
)
setattr(calibrate, "epilog", EXAMPLE)  # noqa: B010
