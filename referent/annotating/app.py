"""The page's server: photos, expressions, the two rules, verification. For this machine alone."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from random import Random
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field

from model.errors import ReferentError
from referent.annotating.advice import Adviser
from referent.annotating.journal import Journal, Written
from referent.annotating.photos import Photo
from search_api.http.guard import Guard
from training.errors import DatasetError

STATIC = Path(__file__).parent / "static"
Who = Annotated[str, Field(max_length=80)]
Text = Annotated[str, Field(max_length=2000)]
Targets = Annotated[list[int], Field(max_length=1000)]


class Asked(BaseModel):
    """An expression, and the photo that it is about."""

    image_id: int
    text: Text


class ToWrite(Asked):
    """An expression to be kept."""

    by: Who
    targets: Targets
    drawn_from: int | None = None


class ToVerify(BaseModel):
    """What a second person marked."""

    id: int
    by: Who
    targets: Targets


def create_app(journal: Journal, adviser: Adviser) -> FastAPI:
    """The application; it answers to names of this machine's loopback alone."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, hosts=())
    lock = threading.Lock()  # one act, and one question to the network, at a time
    photos = journal.photos
    draws = Random(1)

    def photo_of(image_id: int) -> Photo:
        photo = photos.photo(image_id)
        if photo is None:
            raise DatasetError("There is no such photo.")
        return photo

    @app.exception_handler(ReferentError)
    def refused(_: Request, error: ReferentError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 422)

    @app.get("/")
    def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    @app.get("/api/state")
    def state() -> dict[str, Any]:
        with lock:
            counts: dict[int, int] = {}
            for act in journal.all():
                counts[act.image_id] = counts.get(act.image_id, 0) + 1
            rows = [
                {"id": p.id, "name": str(p.row["file_name"]), "written": counts.get(p.id, 0)}
                for p in photos.photos
            ]
            return {
                "photos": rows,
                "agreement": journal.agreement(),
                "network": adviser.network.name,
            }

    @app.get("/api/photos/{image_id}")
    def things(image_id: int) -> dict[str, Any]:
        photo = photo_of(image_id)
        return {
            "width": photo.row["width"],
            "height": photo.row["height"],
            "things": photo.shapes(),
        }

    @app.get("/api/photos/{image_id}/picture")
    def picture(image_id: int) -> Response:
        written = io.BytesIO()
        photo_of(image_id).image().save(written, "JPEG", quality=92)
        return Response(written.getvalue(), media_type="image/jpeg")

    @app.post("/api/advice")
    def advice(asked: Asked) -> dict[str, Any]:
        photo_of(asked.image_id)
        with lock:
            found = adviser.ask(asked.image_id, asked.text)
        return {
            "here": found.here,
            "words": [{"word": word, "p": p} for word, p in found.words],
            "irrelevant": found.irrelevant,
            "elsewhere": [{"image_id": number, "p": p} for number, p in found.elsewhere[:3]],
            "elsewhere_count": len(found.elsewhere),
        }

    @app.get("/api/deceptive")
    def deceptive(image_id: int) -> dict[str, Any]:
        """An expression with targets in another photo, by rule 2."""
        with lock:
            own = {act.text.lower() for act in journal.all() if act.image_id == image_id}
            others = [
                act for act in journal.all()
                if act.targets and act.image_id != image_id and act.text.lower() not in own
            ]  # fmt: skip
        if not others:
            raise DatasetError("No other photo has an expression with targets yet.")
        act = draws.choice(others)
        return {"text": act.text, "drawn_from": act.image_id}

    @app.post("/api/expressions")
    def write(given: ToWrite) -> dict[str, Any]:
        with lock:
            act = journal.write(
                given.by, given.image_id, given.targets, given.text, given.drawn_from
            )
            return {"id": act.id, "agreement": journal.agreement()}

    @app.get("/api/verify")
    def to_verify(by: Annotated[str, Query(max_length=80)]) -> dict[str, Any]:
        with lock:
            act: Written | None = journal.to_verify(by)
        return {} if act is None else {"id": act.id, "image_id": act.image_id, "text": act.text}

    @app.post("/api/verify")
    def verify(given: ToVerify) -> dict[str, Any]:
        with lock:
            agrees = journal.verify(given.id, given.by, given.targets)
            return {"agrees": agrees, "agreement": journal.agreement()}

    app.mount("/static", StaticFiles(directory=STATIC))
    return app
