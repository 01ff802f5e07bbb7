"""The HTTP API in a few lines of Python; nothing of Referent but this file is needed.

    from referent.client import Client

    with Client("http://127.0.0.1:8321") as referent:
        answer = referent.search("kid in blue", album="holiday")
        for hit in answer:
            print(hit.path, hit.confidence)

Needs `httpx` (``pip install referent[client]``).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote

import httpx

ADDRESS = "http://127.0.0.1:8321"
_PAGE = 100
_ASK_EVERY_S = 0.5
_TIMEOUT = httpx.Timeout(60.0, connect=5.0)


class ApiError(Exception):
    """The server refused a request, or cannot be reached.

    Attributes:
        status: of HTTP; 0 where there was no answer.
        fields: what of the request is wrong, where that can be told.
        retry_after_s: how long to wait before asking again; None where asking again is no use.
    """

    def __init__(
        self,
        status: int,
        text: str,
        fields: tuple[str, ...] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(text)
        self.status, self.fields, self.retry_after_s = status, fields, retry_after_s


@dataclass(frozen=True)
class Hit:
    """A photo that shows what was asked for.

    Attributes:
        photo: what the API tells of it: `id`, `album`, `path`, `width`, `taken_at`, ...
        confidence: calibrated, 0 to 1.
        box: x, y, width, height of the mask in upright pixels.
    """

    photo: Mapping[str, Any]
    confidence: float
    box: tuple[int, int, int, int] | None
    _client: Client
    _run: str

    @property
    def id(self) -> int:
        """The photo's id."""
        return int(self.photo["id"])

    @property
    def path(self) -> str:
        """The photo's path inside its album."""
        return str(self.photo["path"])

    def overlay(self, side: int = 1024) -> bytes:
        """A JPEG with the mask on the photo; ``side``: the longer one, pixels."""
        return self._client.overlay(self._run, self.id, side)

    def mask(self) -> dict[str, Any]:
        """The mask as COCO's RLE, with its polygons, box and area."""
        found: dict[str, Any] = self._client.json("GET", self._of("mask.json"))
        return found

    def mask_png(self) -> bytes:
        """The mask as a grey PNG at the photo's size."""
        return self._client.bytes(self._of("mask.png"))

    def original(self) -> bytes:
        """The photo's file."""
        return self._client.bytes(f"/v1/photos/{self.id}/original")

    def _of(self, name: str) -> str:
        return f"/v1/search/{self._run}/hits/{self.id}/{name}"


class Answer:
    """A search that has ended; iterating gives every match, best first, a page at a time.

    Attributes:
        run: its id; `matched`: how many photos; `sentence`: how far it looked, in words.
        notes: what to know about the answer.
    """

    def __init__(self, client: Client, page: Mapping[str, Any]) -> None:
        self._client, self._first = client, page
        about = page["run"]
        self.run: str = about["id"]
        self.matched: int = about["coverage"]["matched"]
        self.sentence: str = about["sentence"]
        self.notes: list[str] = [note["text"] for note in about["notes"]]

    def __iter__(self) -> Iterator[Hit]:
        page = self._first
        while True:
            for hit in page["hits"]:
                box = None if hit["box"] is None else tuple(hit["box"])
                yield Hit(hit["photo"], hit["confidence"], box, self._client, self.run)
            if page["next_cursor"] is None:
                return
            asked = {"cursor": page["next_cursor"], "size": _PAGE}
            page = self._client.json("GET", f"/v1/search/{self.run}/hits", params=asked)

    def cut_out(
        self, into: Path | str, photos: Sequence[int] | None = None, **options: Any
    ) -> Path:
        """Cut the matches out and write them as a zip; needs a key of scope write.

        Args:
            photos: ids of some matches; None cuts out all that are not marked wrong.
            options: as the API takes them, e.g. ``crop=True``, ``background="white"``.
        Returns:
            ``into``.
        """
        body = {"run": self.run, **options}
        if photos is not None:
            body["photos"] = list(photos)
        job = self._client.wait(self._client.json("POST", "/v1/matte", json=body)["id"])
        return self._client.save(f"/v1/jobs/{job['id']}/cutouts.zip", into)


class Client:
    """A server of Referent.

    Args:
        address: as `referent serve` prints it, with a path prefix where a proxy gives it one.
        key: of `referent keys create`; none is needed on the server's own machine.
        http: another client of httpx to ask with, e.g. with a certificate of one's own.
    """

    def __init__(
        self, address: str = ADDRESS, key: str | None = None, *, http: httpx.Client | None = None
    ) -> None:
        self._base = address.rstrip("/")
        self._headers = {} if key is None else {"authorization": f"Bearer {key}"}
        self._http = http or httpx.Client(timeout=_TIMEOUT)

    def albums(self) -> list[dict[str, Any]]:
        """Every album that the key may see, with how many photos can be searched."""
        found: list[dict[str, Any]] = self.json("GET", "/v1/albums")["albums"]
        return found

    def search(
        self,
        expression: str,
        *,
        album: str | None = None,
        mode: Literal["fast", "exhaustive"] = "fast",
        threshold: float | None = None,
        filters: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Find the photos that show what an expression refers to.

        Args:
            album: its name; None searches all.
            mode: "exhaustive" judges every photo.
            threshold: from this confidence on, instead of the album's own.
            filters: as the API takes them, e.g. ``{"camera": "Pixel"}``.
        Raises:
            ApiError: it says what was wrong with the question.
        """
        body: dict[str, Any] = {"expression": expression, "mode": mode, "size": _PAGE}
        more = {"album": album, "threshold": threshold, "filters": filters}
        body |= {name: value for name, value in more.items() if value is not None}
        return Answer(self, self.json("POST", "/v1/search", json=body))

    def overlay(self, run: str, photo: int, side: int = 1024) -> bytes:
        """A JPEG of a search's match with its mask on it."""
        return self.bytes(f"/v1/search/{quote(run, safe='')}/hits/{photo}/overlay.jpg", side=side)

    def answer(self, run: str) -> Answer:
        """A search of before, by its run's id."""
        path = f"/v1/search/{quote(run, safe='')}/hits"
        page = self.json("GET", path, params={"size": _PAGE})
        return Answer(self, page)

    def wait(self, job: int) -> dict[str, Any]:
        """Wait until a job has ended.

        Raises:
            ApiError: it failed or was cancelled.
        """
        while True:
            found: dict[str, Any] = self.json("GET", f"/v1/jobs/{job}")
            if found["state"] == "done":
                return found
            if found["state"] in ("failed", "cancelled"):
                raise ApiError(409, f"job {job} is {found['state']}: {found['message'] or ''}")
            time.sleep(_ASK_EVERY_S)

    def json(self, method: str, path: str, **asked: Any) -> Any:
        """What the API answers to any request of its document (`/v1/openapi.json`)."""
        answer = self._send(method, path, **asked)
        return answer.json() if answer.content else None

    def bytes(self, path: str, **params: Any) -> bytes:
        """A picture or file."""
        return self._send("GET", path, params=params).content

    def save(self, path: str, into: Path | str) -> Path:
        """Write a download to a file, whole or not at all."""
        into = Path(into)
        part = into.with_name(into.name + ".part")
        try:
            with (
                part.open("wb") as file,
                self._http.stream("GET", self._base + path, headers=self._headers) as answer,
            ):
                if answer.is_error:
                    answer.read()
                    raise _refused(answer)
                for block in answer.iter_bytes():
                    file.write(block)
            part.replace(into)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        finally:
            part.unlink(missing_ok=True)
        return into

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _send(self, method: str, path: str, **asked: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, self._base + path, headers=self._headers, **asked)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if answer.is_error:
            raise _refused(answer)
        return answer

    def _unreachable(self, error: httpx.HTTPError) -> ApiError:
        why = str(error) or type(error).__name__
        return ApiError(0, f"{self._base} does not answer ({why}); is `referent serve` running?")


def _refused(answer: httpx.Response) -> ApiError:
    """The problem document of an answer as an error."""
    problem: dict[str, Any] = {}
    with suppress(ValueError):
        read = answer.json()
        problem = read if isinstance(read, dict) else {}
    after = answer.headers.get("retry-after", "")
    return ApiError(
        answer.status_code,
        problem.get("detail") or problem.get("title") or f"HTTP {answer.status_code}",
        tuple(each["field"] for each in problem.get("errors", ())),
        float(after) if after.isdigit() else None,
    )
