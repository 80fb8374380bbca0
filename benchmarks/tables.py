"""Write tables into documents between markers, with date and machine: nobody types a number."""

import os
import platform
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path


def markdown(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table; numbers are right-aligned."""
    ruler = ["---"] + ["---:"] * (len(header) - 1)
    lines = [header, ruler, *([str(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def machine() -> str:
    """Describe where and when: date, processor, cores, Python."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", info.read_text()) if info.exists() else None
    name = found.group(1) if found else platform.processor() or platform.machine()
    day = datetime.now(UTC).date().isoformat()
    cores = f"{os.cpu_count()} cores (shared with other work)"
    return f"{day}, {name}, {cores}, Python {platform.python_version()}"


def write(path: Path, name: str, text: str) -> None:
    """Replace what stands between `<!-- name -->` and `<!-- /name -->`, which are added where missing."""
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    document = path.read_text() if path.exists() else ""
    if start not in document:
        document = document.rstrip() + f"\n\n{start}\n{end}\n"
    before, rest = document.split(start, 1)
    after = rest.split(end, 1)[1]
    path.write_text(f"{before}{start}\n{text.strip()}\n{end}{after}")
