"""The job that asks saved searches about the photos of an album that came since."""

from __future__ import annotations

from search_api.search import saved, tellings
from workers.indexing import album_of, broken_off
from workers.turn import Outcome, Turn


def watch(turn: Turn) -> Outcome:
    """Judge the album's new photos for each saved search once, and tell webhooks what is due.

    One that is cut off begins again with the searches that have not been asked.
    """
    album_id = album_of(turn)
    engine = turn.held.engine(turn.catalog)
    asked = found = 0
    for each in saved.of_album(turn.catalog, album_id):
        if turn.should_stop():
            return broken_off(turn)
        run = saved.judge_new(engine, each, album_id, stopping=turn.should_stop)
        if run is None:
            continue
        asked += 1
        found += run.coverage.matched
    told = tellings.tell_due(engine, album_id, stopping=turn.should_stop)
    return Outcome("done", {"searches": asked, "matched": found, "told": told})
