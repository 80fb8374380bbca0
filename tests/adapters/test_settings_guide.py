"""The guide names every setting with its default, and no other."""

import re
from pathlib import Path

from flows.adapters.settings import Settings

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "settings.md"
NOT_IN_SETTINGS = {"LEADSCORE_TIMEZONE", "NUMBA_CACHE_DIR"}


def variable(name: str) -> str:
    alias = Settings.model_fields[name].validation_alias
    return str(alias) if alias else f"LEADSCORE_{name.upper()}"


def test_the_guide_and_the_settings_agree():
    rows = [line.split("|")[1:3] for line in GUIDE.read_text().splitlines() if line.startswith("| `")]
    named = {name for variables, _ in rows for name in re.findall(r"`([A-Z_]+)`", variables)}
    assert named - NOT_IN_SETTINGS == {variable(name) for name in Settings.model_fields}


def test_the_guide_has_the_defaults():
    text = GUIDE.read_text()
    for name, field in Settings.model_fields.items():
        if isinstance(field.default, int | str):
            default = re.findall(rf"\| `{variable(name)}` \| ([^|]*) \|", text)
            assert default == [str(field.default).lower()], name
