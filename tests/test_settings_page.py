"""docs/settings.md names every setting, with its default and what it is, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from indexer.settings import Settings
from search_api.http.server_settings import ServerSettings

ROOT = Path(__file__).parents[1]
FIELDS = {
    f"REFERENT_{name.upper()}": field
    for settings in (Settings, ServerSettings)
    for name, field in settings.model_fields.items()
}
ROWS = {
    row[1]: (row[2].strip(), row[3].replace("\\|", "|"))
    for row in re.finditer(
        r"^\| `(REFERENT_[A-Z_]+)` \|(.*?)\| (.*) \|$",
        (ROOT / "docs" / "settings.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
}
# Of the compose file, of training and of clients, which are no settings of a process that serves.
OTHERS = {
    f"REFERENT_{name}"
    for name in ("IMAGE", "GPU_IMAGE", "LISTEN", "PHOTOS", "PHOTO_PACK", "SECRETS", "API_KEY")
}


def default_of(field: FieldInfo) -> str:
    """A default as the environment would say it."""
    value = field.default
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value == Path() else str(value)


def test_page_has_a_row_for_every_setting_and_no_other() -> None:
    assert ROWS.keys() == FIELDS.keys()


@pytest.mark.parametrize("name", FIELDS)
def test_row_says_what_the_setting_says(name: str) -> None:
    default, about = ROWS[name]
    field = FIELDS[name]
    assert field.description
    assert about.startswith(field.description)
    if field.default_factory is None:
        assert default.strip("`") == default_of(field)
    else:
        assert default and "`" not in default[:1], "what it depends on, in words"


def test_no_page_names_a_setting_that_is_none() -> None:
    pages = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "docker-compose.yml"]
    for page in pages:
        named = set(re.findall(r"\bREFERENT_[A-Z_]*[A-Z]\b", page.read_text(encoding="utf-8")))
        assert named - OTHERS <= FIELDS.keys(), page.name
