"""What the albums of a search were judged by: the fingerprints that a run keeps of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from search_api.search.engine import View


def of_views(views: Sequence[View]) -> dict[str, str]:
    """The first album's fingerprints, and the masks' of every album that is served by another
    model: a mask can be drawn only with what its own album was judged by."""
    first = views[0].predictor.fingerprints
    others = {
        f"masks:{view.album_id}": view.predictor.fingerprints["masks"]
        for view in views
        if view.predictor.fingerprints["masks"] != first["masks"]
    }
    return {**first, **others}


def masks_of(fingerprints: Mapping[str, str], album_id: int) -> str:
    """The fingerprint of the mask features that a run judged an album's photos by."""
    return fingerprints.get(f"masks:{album_id}", fingerprints.get("masks", ""))
