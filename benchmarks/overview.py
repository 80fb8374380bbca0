"""PKBoost in six lines: what the documents of the benchmarks say, put together for the README.

    python benchmarks/overview.py [--write]

Measures nothing: every figure is read from the tables that speed.py, quality.py and perturbation.py wrote.
"""

import argparse
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path

from tables import markdown, write

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
MODELS = (
    "PKBoost",
    "PKBoost quality",
    "LightGBM",
    "LightGBM regularised",
    "XGBoost",
    "CatBoost",
    "ChimeraBoost",
)
Table = dict[str, dict[str, str]]


def read(document: str, name: str) -> tuple[Table, str]:
    """Return a written table as first cell -> column -> cell, and the line above it.

    Raises
    ------
    ValueError : the document holds no such table; its benchmark has to be run with `--write` first.
    """
    text = (DOCS / document).read_text()
    found = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", text, re.DOTALL)
    lines = [line for line in found[1].splitlines() if line.startswith("|")] if found else []
    if len(lines) < 3:
        raise ValueError(f"docs/{document} holds no table {name!r}: run its benchmark with --write")
    header, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    # rows of one size differ in their threads: where first cells are alike, the second one tells them apart
    keys = [row[0] for row in rows]
    names = keys if len(set(keys)) == len(keys) else [f"{row[0]}, {row[1]}" for row in rows]
    made = {name: dict(zip(header, row, strict=True)) for name, row in zip(names, rows, strict=True)}
    return made, found[1].strip().splitlines()[0] if found else ""


def overview() -> str:
    """Return the README's lines: speed as ratios, quality and robustness as a table."""
    quality, protocol = read("pkboost_quality.md", "summary")
    lost, disturbed = read("pkboost_perturbation.md", "upstream-raw")
    on = re.search(r"\d+ real sets", disturbed)
    ratios = _ratios(read("pkboost_speed.md", "ratios")[0])
    found = re.search(r"\d+ sets, \d+ seeds", protocol)
    said = (
        f"Training speed as a multiple of LightGBM's, with its leaves, rounds and threads: {ratios}. Below: "
        f"{found and found[0]}, every library on its defaults, ranks among {len(quality)} models."
    )
    shown = [model for model in MODELS if model in quality]
    columns = {
        "PR-AUC, mean": "PR-AUC",
        "log-loss, mean": "log-loss",
        "rank in PR-AUC": "rank PR-AUC, all",
    }
    rows = [[name, *(quality[model][column] for model in shown)] for name, column in columns.items()]
    title = f"PR-AUC lost on disturbed inputs ({on and on[0]})"
    rows.append([title, *(_lost(lost["mean"], model) for model in shown)])
    return "\n".join(textwrap.wrap(said, 120)) + "\n\n" + markdown(["", *shown], rows)


def _lost(mean: Mapping[str, str], model: str) -> str:
    value = mean.get(model)
    return "" if value is None else f"{value.strip('*')} %"


def _ratios(speed: Table) -> str:
    by_threads: dict[str, list[str]] = {}
    for name, row in speed.items():
        ratio = row["ratio with construction"].split(" (")[0]
        by_threads.setdefault(row["threads"], []).append(f"{ratio} ({name.split(' (')[0]} rows)")
    parts = [
        f"on {threads} thread{'s'[: threads != '1']} " + ", ".join(by_threads[threads])
        for threads in by_threads
    ]
    return "; ".join(parts)


def main() -> None:
    """Print the lines, or write them into the README."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="write the lines into README.md")
    text = overview()
    if parser.parse_args().write:
        write(ROOT / "README.md", "pkboost", text)
    print(text)


if __name__ == "__main__":
    main()
