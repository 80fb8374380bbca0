"""The guide names every feature column, and no column that does not exist."""

import re
from pathlib import Path

from features.build import build
from features.spine import KEYS, spine
from features.touches import ACTIVITY_TYPES
from tests.features.worlds import ATTR_KINDS, day, make_world

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "features.md"
PLACEHOLDERS = {
    "<w>": r"(7|30|90)",
    "<h>": r"(3|14|45)",
    "<a>": r"(30|90)",
    "<direction>": r"(inbound|outbound)",
    "<group>": r"(source|owner)",
    "<type>": f"({'|'.join(ACTIVITY_TYPES)})",
    "<key>": r".+",
}


def _patterns() -> list[re.Pattern[str]]:
    table = GUIDE.read_text().partition("## Columns")[2].partition("## Bots")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    names = [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]
    for placeholder, pattern in PLACEHOLDERS.items():
        names = [name.replace(placeholder, pattern) for name in names]
    return [re.compile(name) for name in names]


def test_the_guide_and_the_columns_agree():
    world = make_world(1, 5, 20)
    columns = build(world, spine(world, [day(150)], max_age_days=200), ATTR_KINDS).drop(KEYS).columns
    patterns = _patterns()
    assert [c for c in columns if not any(p.fullmatch(c) for p in patterns)] == []
    assert [p.pattern for p in patterns if not any(p.fullmatch(c) for c in columns)] == []
