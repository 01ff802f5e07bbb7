"""What the user should know beside an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from search_api.errors import NotIndexed, SearchError
from search_api.search import booleans
from search_api.search.booleans import Question
from search_api.search.coverage import Note, photos, reading_notes
from search_api.search.decisions import Decision
from search_api.search.engine import View
from search_api.search.query import Query


def of_albums(views: list[View], query: Query, question: Question) -> tuple[Note, ...]:
    """What the user should know about the albums before reading the answer."""
    if not views:
        raise SearchError("There is no album yet; index a folder: referent index FOLDER")
    if not any(len(view.snapshot.photo_ids) for view in views):
        waiting = sum(view.by_status.get("new", 0) for view in views)
        name = query.album or "any album"
        raise NotIndexed(
            f"No photo of {name} has features of this model yet ({waiting:,} wait); "
            "run: referent index FOLDER",
            field="album",
        )
    text = views[0].predictor.text
    notes = [each for part in booleans.parts(question) for each in reading_notes(text.unread(part))]
    if not isinstance(question, booleans.Part):
        notes.append(understood(question, query))
    notes += [note for view in views for note in view.notes]
    if waiting := sum(view.by_status.get("new", 0) for view in views):
        notes.append(
            Note(
                "indexing",
                f"Not indexed yet: {photos(waiting)}, so this answer is partial.",
                {"n": waiting},
            )
        )
    if failed := sum(view.by_status.get("failed", 0) for view in views):
        said = f"{photos(failed)} could not be read and cannot be found."
        notes.append(Note("failed", said, {"n": failed}))
    if unread := sum(view.prefilter.unread for view in views):
        notes.append(damaged(unread, "last"))
    return tuple(notes)


def understood(question: Question, query: Query) -> Note:
    """How a question of several parts, or of what is absent, was read."""
    read = booleans.told(question)
    read = read.removeprefix("(").removesuffix(")") if read[0] == "(" else read
    text, why = f"Read as {read}", ["parts"]
    if booleans.says_not(question):
        text += "; NOT means that it is judged absent"
        why.append("absent")
    if booleans.narrowing(question) is None and query.mode == "fast":
        text += ", which only a look at every photo can tell"
        why.append("whole")
    return Note("read-as", f"{text}.", {"read": read, "why": "-".join(why)})


def damaged(count: int, why: Literal["unjudged", "last"]) -> Note:
    """That so many photos' features cannot be read, and what comes of it."""
    so = {"unjudged": "could not be judged", "last": "are looked at last"}[why]
    text = f"Features of {photos(count)} are damaged, so they {so}; the next index makes them anew."
    return Note("damaged-features", text, {"n": count, "why": why})


def unsure_of(matches: Sequence[Decision], among: int) -> Note:
    """Why a search returns none of its matches.

    Args:
        matches: most confident first; `among`: how many photos the search is about.
    """
    best = matches[0].confidence
    text = (
        f"{photos(len(matches)).capitalize()} of {among:,} would match, at most "
        f"{best:.0%} likely; so many look a little like anything, so none is "
        "returned. A threshold of your own shows them."
    )
    values = {"n": len(matches), "of": among, "percent": round(100 * best)}
    return Note("unsure", text, values)
