"""Errors as problem documents (RFC 9457) that name the field and say what to do."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from indexer import errors as indexer_errors
from model import errors as model_errors
from search_api import errors
from search_api.http.hiding import PathHider

log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
TYPE_ROOT = "urn:referent:problem:"

# The first class that an error is an instance of decides; more special ones stand first.
STATUS: tuple[tuple[type[BaseException], int], ...] = (
    (errors.BadCursor, 404),
    (errors.BadQuery, 422),
    (errors.NotFound, 404),
    (errors.PhotoVanished, 410),
    (errors.NotIndexed, 409),
    (errors.StillRunning, 409),
    (errors.AlreadyExists, 409),
    (errors.TooBusy, 429),
    (errors.TooLarge, 413),
    (errors.Stopping, 503),
    (errors.Unauthenticated, 401),
    (errors.Forbidden, 403),
    (indexer_errors.UnknownAlbum, 404),
    (indexer_errors.UnknownJob, 404),
    (indexer_errors.JobConflict, 409),
    (indexer_errors.JobParametersInvalid, 422),
    (indexer_errors.FolderError, 422),
    (indexer_errors.FeatureStoreError, 409),
    (indexer_errors.CatalogError, 503),
    (indexer_errors.DecoderBroken, 503),
    (indexer_errors.NoSpaceLeft, 507),
    (model_errors.ExpressionError, 422),
    (model_errors.PhotoError, 422),
    (model_errors.UnknownModel, 404),
    (model_errors.ModelError, 409),
    (model_errors.ReferentError, 409),
)


# What a request calls the thing that an error of the lower folders is about.
FIELD: tuple[tuple[type[BaseException], str], ...] = (
    (indexer_errors.UnknownAlbum, "album"),
    (indexer_errors.UnknownJob, "job_id"),
    (model_errors.ExpressionError, "expression"),
    (model_errors.UnknownModel, "model"),
)
# In words, what pydantic says in its own terms.
_IN_WORDS = {
    "extra_forbidden": "there is no such field; leave it out or correct its name",
    "missing": "is missing; give it",
    "string_pattern_mismatch": "must be text that is not empty and holds no NUL character",
    "model_attributes_type": "must be a JSON object, sent with Content-Type: application/json",
}
_HTTP_IN_WORDS = {
    404: "There is nothing at this path; /v1/openapi.json lists what there is.",
    405: "This path does not take this method; the header Allow names those that it takes.",
}


class FieldProblem(BaseModel):
    """One field of a request that cannot be used."""

    field: str = Field(description="Where it stands, as in `body.filters.gps.west`.")
    message: str = Field(description="What is wrong with it, and what would be right.")


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:referent:problem:unknown-album",
                    "title": "Unknown album",
                    "status": 404,
                    "detail": "no album is named 'holliday' (albums: holiday)",
                    "instance": "/v1/search",
                    "errors": [],
                }
            ]
        }
    )
    type: str = Field(description="A name that programs can rely on.")
    title: str
    status: int
    detail: str = Field(description="What is wrong here and what to do about it.")
    instance: str = Field(description="The path that was asked for.")
    errors: list[FieldProblem] = Field(default_factory=list)


def problem_response(
    request: Request,
    status: int,
    kind: str,
    detail: str,
    *,
    fields: list[FieldProblem] | None = None,
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """A problem document as a response."""
    document = Problem(
        type=TYPE_ROOT + kind,
        title=kind.replace("-", " ").capitalize(),
        status=status,
        detail=detail,
        instance=request.url.path,
        errors=fields or [],
    )
    return JSONResponse(
        document.model_dump(), status_code=status, media_type=MEDIA_TYPE, headers=headers
    )


def install(app: FastAPI) -> None:
    """Let every error of this application leave as a problem document."""
    app.add_exception_handler(model_errors.ReferentError, _on_referent_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, _on_bug)


def status_of(error: BaseException) -> int:
    """The HTTP status of one of our errors."""
    return next((status for kind, status in STATUS if isinstance(error, kind)), 500)


def type_of(kind: type[BaseException]) -> str:
    """The name of a kind of error, which programs can rely on."""
    return TYPE_ROOT + _kebab(kind.__name__)


async def _on_referent_error(request: Request, error: Exception) -> JSONResponse:
    status = status_of(error)
    headers = {}
    if isinstance(error, errors.TooBusy):
        headers["Retry-After"] = str(error.retry_after_s)
    if status == 401:
        headers["WWW-Authenticate"] = 'ApiKey realm="referent"'
    if status == 503:
        headers["Retry-After"] = "5"
    name = getattr(error, "field", None) or next(
        (field for kind, field in FIELD if isinstance(error, kind)), None
    )
    detail = told_to_client(request.app.state.server.hide, error)
    fields = [FieldProblem(field=name, message=detail)] if name else None
    return problem_response(
        request, status, _kebab(type(error).__name__), detail, fields=fields, headers=headers
    )


def told_to_client(hide: PathHider, error: Exception) -> str:
    """An error's sentence without paths of the server; where it held one, the log has it whole.

    What is said of a folder that an admin named is said in full.
    """
    whole = str(error)
    if isinstance(error, indexer_errors.FolderError):
        return whole
    told = hide(whole)
    if told != whole:
        log.warning("told a client without its paths: %s", whole)
    return told


async def _on_invalid_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    fields = [
        FieldProblem(field=_field(each), message=_message(each)) for each in error.errors()[:20]
    ]
    first = fields[0] if fields else FieldProblem(field="body", message="cannot be read")
    detail = f"{first.field}: {first.message}"
    return problem_response(request, 422, "invalid-request", _clean(detail), fields=fields)


async def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    detail = str(error.detail)
    if detail == phrase:  # starlette's own, which says no more than the status
        detail = _HTTP_IN_WORDS.get(error.status_code, detail)
    return problem_response(
        request,
        error.status_code,
        _kebab(phrase.replace(" ", "")),
        detail,
        headers=dict(error.headers or {}),
    )


async def _on_bug(request: Request, error: Exception) -> JSONResponse:
    log.error("request failed", exc_info=error)
    return problem_response(
        request, 500, "internal-error", "Something failed inside Referent; its log says what."
    )


def _field(error: dict[str, Any]) -> str:
    """Where it stands; of a body that is no JSON pydantic tells the character as a field."""
    where = error["loc"][:1] if error["type"] == "json_invalid" else error["loc"]
    return ".".join(str(part) for part in where)


def _message(error: dict[str, Any]) -> str:
    """What is wrong with one field, and what would be right."""
    if error["type"] == "json_invalid":
        reason = error.get("ctx", {}).get("error", "it cannot be read")
        return f"is not valid JSON, at character {error['loc'][-1]}: {reason}"
    if error["type"] == "string_pattern_mismatch" and error["loc"][-1] == "expression":
        return "must hold at least one letter or digit, such as: kid in blue"
    if error["type"] == "value_error" and "files" in error["loc"]:
        return "must be a file: a part of the form with a filename"
    return _IN_WORDS.get(error["type"]) or str(error["msg"]).removeprefix("Value error, ")


def _clean(text: str) -> str:
    """Text that always encodes as UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def _kebab(name: str) -> str:
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in name).lstrip("-")


def documented_events(description: str, names: tuple[str, ...], example: str) -> dict[str, Any]:
    """OpenAPI response of a stream of server-sent events; its schema is that of one event."""
    event = {
        "type": "object",
        "required": ["event", "data"],
        "properties": {
            "event": {"type": "string", "enum": list(names)},
            "data": {"type": "string", "contentMediaType": "application/json"},
        },
    }
    return {
        "description": description,
        "content": {"text/event-stream": {"schema": event, "example": example}},
    }


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses for these statuses, each a problem document."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in statuses
    }
