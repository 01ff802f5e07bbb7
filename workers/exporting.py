"""The job that writes a search run for other programs, where a request would wait too long."""

from __future__ import annotations

from indexer.errors import JobParametersInvalid
from indexer.folders.own_folders import made_folder
from indexer.folders.own_output import make_room
from search_api.show.exports import FORMS, write_export
from workers.turn import Outcome, Turn

# Files; the other forms are folders of their own name.
NAMES = {"coco": "coco.json", "csv": "hits.csv", "sheet": "sheet.jpg"}


def export_run(turn: Turn) -> Outcome:
    """Write the run of parameter ``run`` in ``form`` below the exports folder.

    It is written whole or not at all, so a job that is cut off begins again.
    """
    run_id, form = turn.job.parameters.get("run"), turn.job.parameters.get("form")
    if not run_id or form not in FORMS:
        raise JobParametersInvalid(
            f"an export job needs the parameters run and form ({', '.join(FORMS)})"
        )
    engine = turn.held.engine(turn.catalog)
    folder = made_folder(turn.catalog, turn.settings, "export", turn.job.id)
    out = folder / NAMES.get(str(form), str(form))
    make_room(turn.settings.exports_dir, out)
    written = write_export(engine, str(run_id), str(form), out)
    return Outcome("done", {"run": run_id, "folder": folder.name, "written": written.told})
