"""``referent segment``: one photo, one expression, pictures of the answer."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer


def segment(
    photo: Annotated[Path, typer.Argument(help="A photo in any format that Pillow or HEIF reads.")],
    expression: Annotated[str, typer.Argument(help="What to look for.")],
    model: Annotated[str, typer.Option(help="A named model or a weights file.")] = "rela-photo",
    out: Annotated[
        Path | None, typer.Option(help="Folder for the pictures; default: PHOTO's name here.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Say whether a photo shows what an expression refers to, and where.

    Writes overlay.jpg, mask.png, minimap.png and regions.png (which regions answered, as the
    paper's Figure 7). Exit status: 0 when something is referred to, 1 when nothing is.
    """
    from PIL import Image

    from indexer.folders.own_output import make_room
    from indexer.photos.decode import load_upright
    from indexer.settings import Settings
    from model.build import load_predictor
    from model.figure import heat, region_figure, region_masks
    from model.network.preprocess import to_pixels
    from search_api.search.coverage import reading_notes
    from search_api.show.overlay import draw_mask

    image = load_upright(photo, Settings())
    predictor = load_predictor(model)
    records = predictor.encode(to_pixels(image, predictor.input_size)[None])
    words = predictor.read([expression])
    notes = reading_notes(predictor.text.unread(expression))
    judgement = predictor.judge(records["tokens"], words)
    confidence = float(
        predictor.calibration.confidence(judgement.no_target_logit, shifted=False)[0]
    )
    accepted = confidence >= 0.5
    mask = predictor.render(records["masks"], judgement, *image.size, accepted=accepted)

    out = out or Path(f"{photo.stem}-segment")
    for name in ("overlay.jpg", "mask.png", "minimap.png", "regions.png"):
        make_room(out, out / name)
    draw_mask(image, mask.array).save(out / "overlay.jpg", quality=92)
    Image.fromarray(mask.array).save(out / "mask.png")
    side = round(predictor.regions**0.5)
    heat(judgement.minimap[0].reshape(side, side), 320).save(out / "minimap.png")
    regions = region_masks(predictor, records["tokens"], records["masks"], words)
    region_figure(image, judgement, regions).save(out / "regions.png")
    answer = {
        "photo": str(photo),
        "expression": expression,
        "model": predictor.name,
        "p_no_target": round(1 - confidence, 4),
        "target": accepted,
        "width": image.width,
        "height": image.height,
        "area": mask.area,
        "box": mask.box,
        "rle": mask.rle,
        "pictures": str(out),
        "notes": [note.as_json() for note in notes],
    }
    if as_json:
        typer.echo(json.dumps(answer))
    else:
        verdict = f"box {mask.box}, {mask.area} pixels" if accepted else "nothing here"
        for note in notes:
            typer.echo(note.text, err=True)
        typer.echo(f"p(no target) = {1 - confidence:.3f}: {verdict}; pictures in {out}/")
    if not accepted:
        sys.exit(1)


segment.epilog = (  # type: ignore[attr-defined]
    'Example: `referent segment beach.jpg "the girl with the red ball" --out answer/`'
)
