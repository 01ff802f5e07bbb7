"""A search's matches to take away: originals, tags for photo managers, a gallery without a server.

Each is a stream of files by name, which a zip or a folder takes as they come; no original is ever
touched. What cannot be read is named in `LEFT_OUT`, and the others come.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from html import escape
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

from zipstream import ZIP_STORED, ZipStream

from indexer.errors import NoSpaceLeft
from model.errors import ReferentError
from model.replacing import replacing
from search_api.errors import SearchError
from search_api.search.coverage import photos as in_words
from search_api.search.decisions import Decision
from search_api.search.engine import Engine
from search_api.search.photos import PhotoInfo, by_id, checked_file
from search_api.search.runs import Run
from search_api.show.chosen import EVERY, Chosen, matches
from search_api.show.images import jpeg
from search_api.show.manifest import writing
from search_api.show.names import name_files
from search_api.show.shown import overlay, picture

Kind = Literal["originals", "sidecars", "gallery"]
KINDS: tuple[Kind, ...] = get_args(Kind)
LEFT_OUT = "left-out.txt"
LARGE_PX, SMALL_PX = 2048, 480
_PIECE = 1 << 20

File = tuple[str, Iterable[bytes]]
"""A name with ``/`` between folders, and the content in pieces."""


def files(engine: Engine, run: Run, kind: Kind, chosen: Chosen = EVERY) -> Iterator[File]:
    """The files of a run's chosen matches, best match first."""
    decisions = list(matches(engine, run, chosen))
    found = by_id(engine.catalog, [each.photo_id for each in decisions])
    here = [(found[each.photo_id], each) for each in decisions if each.photo_id in found]
    names = name_files([photo for photo, _ in here], None)
    left_out: list[str] = []
    cards: list[str] = []
    for number, (photo, decision) in enumerate(here, 1):
        try:
            if kind == "originals":
                yield str(names[photo.id]), _pieces(checked_file(photo))
            elif kind == "sidecars":
                yield f"{names[photo.id]}.xmp", [sidecar(run.expression).encode()]
            else:
                yield from _pictures(engine, run, photo, decision, number)
                cards.append(_card(photo, decision, number))
        except (ReferentError, OSError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            left_out.append(f"{photo.album}/{photo.path}: {why}\n")
    if kind == "gallery":
        yield "index.html", [_page(run, cards).encode()]
    if left_out:
        yield LEFT_OUT, [line.encode("utf-8", "backslashreplace") for line in left_out]


def zip_pieces(entries: Iterator[File]) -> Iterator[bytes]:
    """A zip of files while they come; pictures are compressed already, so they are stored."""
    stream = ZipStream(compress_type=ZIP_STORED)
    for name, pieces in entries:
        stream.add(pieces, name)
        yield from stream.all_files()
    yield from stream.finalize()


def write(entries: Iterator[File], folder: Path) -> tuple[int, int]:
    """Write files into a folder, each whole or not at all: how many, and how many are left out.

    One that cannot be written is named beside those that cannot be read.

    Raises:
        SearchError: nothing can be written.
        NoSpaceLeft: the disk is full.
    """
    number, left_out = 0, list[bytes]()
    for name, pieces in entries:
        if name == LEFT_OUT:
            left_out.extend(pieces)
            continue
        try:
            _write(folder, name, pieces)
        except NoSpaceLeft:
            raise
        except SearchError as error:
            left_out.append(f"{error}\n".encode("utf-8", "backslashreplace"))
        else:
            number += 1
    if left_out and not number:
        raise SearchError(left_out[0].decode().strip())
    if left_out:
        _write(folder, LEFT_OUT, left_out)
    return number, len(left_out)


def _write(folder: Path, name: str, pieces: Iterable[bytes]) -> None:
    with (
        writing(folder / name, folder) as target,
        replacing(target) as part,
        part.open("wb") as file,
    ):
        file.writelines(pieces)


def sidecar(expression: str) -> str:
    """An XMP packet that tags a photo with an expression, as digiKam, darktable and Lightroom read.

    Beside ``dsc.jpg`` it is called ``dsc.jpg.xmp``.
    """
    tag = " ".join(expression.replace("/", " ").replace("|", " ").split())  # they part levels
    return _XMP.format(word=escape(expression), tag=escape(tag))


_XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:lr="http://ns.adobe.com/lightroom/1.0/"
    xmlns:digiKam="http://www.digikam.org/ns/1.0/">
   <dc:subject><rdf:Bag><rdf:li>{word}</rdf:li></rdf:Bag></dc:subject>
   <lr:hierarchicalSubject><rdf:Bag><rdf:li>Referent|{tag}</rdf:li></rdf:Bag></lr:hierarchicalSubject>
   <digiKam:TagsList><rdf:Seq><rdf:li>Referent/{tag}</rdf:li></rdf:Seq></digiKam:TagsList>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
"""


def _pieces(path: Path) -> Iterator[bytes]:
    """A file in pieces; it is opened now, so that one that cannot be read is told in time."""
    file = path.open("rb")

    def read() -> Iterator[bytes]:
        with file:
            yield from iter(partial(file.read, _PIECE), b"")

    return read()


def _pictures(
    engine: Engine, run: Run, photo: PhotoInfo, decision: Decision, number: int
) -> list[File]:
    """The photo as it is shown, and small with its mask; where it was taken stays here."""
    small = overlay(engine, photo, decision, run.fingerprints, SMALL_PX)
    large = picture(engine.settings, photo, LARGE_PX)
    return [
        (f"photos/{number:05d}.jpg", [jpeg(large)]),
        (f"small/{number:05d}.jpg", [jpeg(small)]),
    ]


def _card(photo: PhotoInfo, decision: Decision, number: int) -> str:
    name = escape(PurePosixPath(photo.path).name)
    taken = f" · {photo.taken_at:%Y-%m-%d}" if photo.taken_at else ""
    return (
        f'<li><a href="photos/{number:05d}.jpg"><img src="small/{number:05d}.jpg" loading="lazy" '
        f'alt="{name}"></a><p>{name}{taken} · {decision.confidence:.0%}</p></li>\n'
    )


def _page(run: Run, cards: list[str]) -> str:
    title = escape(run.expression)
    said = escape(f"{in_words(len(cards))}; {run.coverage.sentence()}")
    head = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style></head>\n"
        f"<body><main><h1>{title}</h1><p>{said}</p>\n<ul>\n"
    )
    return "".join(chain([head], cards, ["</ul></main></body></html>\n"]))


_STYLE = (
    ":root{color-scheme:light dark}body{margin:0;font:16px/1.5 system-ui,sans-serif}"
    "main{max-width:1280px;margin:auto;padding:24px}"
    "ul{list-style:none;padding:0;display:grid;gap:16px;"
    "grid-template-columns:repeat(auto-fill,minmax(220px,1fr))}"
    "img{width:100%;height:220px;object-fit:cover;border-radius:8px;display:block}"
    "li p{margin:6px 0 0;font-size:14px;overflow-wrap:anywhere}"
)
