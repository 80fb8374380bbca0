"""What calling by the score is worth: conversion of called leads by score and as now, and the 12x question.

    python benchmarks/worth.py --write

Simulated CRMs: rolling origins of the product itself (flows/rolling_evidence.py), with LightGBM on the same
rows and the hidden truth, which no model can beat, beside it. Real sets: the last half in eight blocks, in
order of time where there is one; each block is scored by models fitted on at most 10,000 rows before it.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tables import machine, markdown, write
from worth_sets import SOURCES, TRUTH, real, scored, simulated

from flows.evidence import AT_RANDOM, BY_SCORE, Cohort, Evidence, evidence

DOCUMENT = Path(__file__).parents[1] / "docs" / "worth.md"
CAPACITIES = (0.01, 0.02, 0.05, 0.10, 0.20)
SHOWN, WANTED = 0.10, 12.0
N_ORIGINS = 8
SIMULATED = "simulated"
WAYS = {
    BY_SCORE: "by score", AT_RANDOM: "at random", "first come": "first come", "source only": "by source",
    "recency only": "last active first", "logistic regression": "logistic", "LightGBM": "LightGBM",
    TRUTH: "the truth itself",
}  # fmt: skip
NAMES = {
    AT_RANDOM: "calling at random",
    "source only": "the source alone",
    "logistic regression": "a logistic regression",
    "LightGBM": "LightGBM",
}

Measured = Mapping[float, Mapping[tuple[str, str], Evidence]]


def measured(cohort: Cohort) -> Measured:
    """Return the evidence at each capacity, by measure and way."""
    return {
        k: {(row.measure, row.subject): row for row in evidence(replace(cohort, capacity=k), seed=0)}
        for k in CAPACITIES
    }


def answers(tables: Mapping[str, Measured]) -> str:
    """How many times as many conversions per call, by capacity, beside the bound and the ceiling."""
    rows = []
    for name, at in tables.items():
        prevalence = _prevalence(at)
        times = {k: at[k]["times_as_many", AT_RANDOM] for k in CAPACITIES}
        ceiling = at[0.01].get(("conversion_of_called", TRUTH))
        top = at[0.01]["conversion_of_called", BY_SCORE]
        rows.append(
            [name, f"{prevalence:.1%}", f"{1 / prevalence:.1f}x", *(_times(times[k]) for k in CAPACITIES),
             f"{top.value:.0%}",
             "" if ceiling is None else f"{ceiling.value:.0%}, {ceiling.value / prevalence:.1f}x",
             _answer(at)]
        )  # fmt: skip
    header = ["leads", "prevalence", "no list can do more than", *(f"best {k:.0%}" for k in CAPACITIES),
              "converting of the best 1 %", "ceiling there", "12x?"]  # fmt: skip
    return markdown(header, rows)


def _prevalence(at: Measured) -> float:
    return at[SHOWN]["conversion_of_called", AT_RANDOM].value


def _answer(at: Measured) -> str:
    """Whether twelve times as many is reached at any of the capacities."""
    if 1 / _prevalence(at) < WANTED:
        return "impossible"
    times = [at[k]["times_as_many", AT_RANDOM] for k in CAPACITIES]
    if any(row.low is not None and row.low >= WANTED for row in times):
        return "yes"
    return "no" if all(row.high is not None and row.high < WANTED for row in times) else "cannot be told"


def plain(tables: Mapping[str, Measured]) -> str:
    """The answer in sentences, with the numbers of the tables."""
    real_sets = {name: at for name, at in tables.items() if not name.startswith(SIMULATED)}
    worlds = {name: at for name, at in tables.items() if name.startswith(SIMULATED)}
    told = [_of_real(real_sets)] if real_sets else []
    told += [_of_simulated(worlds)] if worlds else []
    ways = (AT_RANDOM, "source only", "logistic regression", "LightGBM")
    return "\n".join(f"- {sentence}" for sentence in [*told, *(_verdicts(tables, way) for way in ways)])


def _of_real(tables: Mapping[str, Measured]) -> str:
    said = [_answer(at) for at in tables.values()]
    found = [(name, k, at[k]["times_as_many", AT_RANDOM]) for name, at in tables.items() for k in CAPACITIES]
    name, k, most = max(found, key=lambda one: one[2].value)
    words = ("impossible", "no", "cannot be told", "yes")
    counts = ", ".join(f"{word} on {said.count(word)}" for word in words if word in said)
    return (
        f"Real leads, twelve times as many: {counts} of {len(said)} sets. With a tenth called it is"
        f" {_span(tables, _lift(SHOWN), '.1f')} times; the most found at all is {_times(most)}, with the best"
        f" {k:.0%} of {name} called."
    )


def _of_simulated(tables: Mapping[str, Measured]) -> str:
    return (
        f"Simulated leads: {_span(tables, _prevalence, '.1%')} convert anyway; of the best 1 % by score"
        f" {_span(tables, _called(BY_SCORE, 0.01), '.0%')} do, by the truth itself"
        f" {_span(tables, _called(TRUTH, 0.01), '.0%')}. The score brings {_span(tables, _lift(0.01), '.0f')}"
        f" times as many there, {_span(tables, _lift(0.05), '.0f')} times with 5 % of the leads called,"
        f" {_span(tables, _lift(SHOWN), '.0f')} times with a tenth."
    )


def _called(way: str, k: float) -> Callable[[Measured], float]:
    return lambda at: at[k]["conversion_of_called", way].value


def _lift(k: float) -> Callable[[Measured], float]:
    return lambda at: at[k]["times_as_many", AT_RANDOM].value


def _span(tables: Mapping[str, Measured], of: Callable[[Measured], float], form: str) -> str:
    values = [of(at) for at in tables.values()]
    return f"{min(values):{form}} to {max(values):{form}}"


def _verdicts(tables: Mapping[str, Measured], way: str) -> str:
    said = [at[SHOWN]["gain_over", way].verdict for at in tables.values()]
    return (
        f"Beside {NAMES[way]}, a tenth called: the score is better on {said.count('better')} of {len(said)}"
        f" sets, a tie on {said.count('tie')}, worse on {said.count('worse')}."
    )


def _times(row: Evidence) -> str:
    interval = "" if row.low is None or row.high is None else f" ({row.low:.1f} to {row.high:.1f})"
    return f"{row.value:.1f}x{interval}"


def ways(tables: Mapping[str, Measured]) -> str:
    """Conversion of called leads by way to choose them, and whether the score beats it."""
    used = [way for way in WAYS if any(("conversion_of_called", way) in at[SHOWN] for at in tables.values())]
    rows = [[name, *(_cell(at[SHOWN], way) for way in used)] for name, at in tables.items()]
    return markdown(["leads", *(WAYS[way] for way in used)], rows)


def _cell(at: Mapping[tuple[str, str], Evidence], way: str) -> str:
    row = at.get(("conversion_of_called", way))
    if row is None:
        return ""
    gain = at.get(("gain_over", way))
    word = (
        ""
        if gain is None
        else {"better": "", "tie": ", tie", "worse": ", better than the score"}[str(gain.verdict)]
    )
    return f"{row.value:.1%} ({row.low:.1%} to {row.high:.1%}){word}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="*", default=[7, 20, 21])
    parser.add_argument("--sets", nargs="*", default=list(SOURCES), choices=list(SOURCES))
    parser.add_argument("--origins", type=int, default=N_ORIGINS)
    parser.add_argument("--json", type=Path, help="file of every number; continued if it exists")
    parser.add_argument("--write", action="store_true", help=f"write the tables into {DOCUMENT.name}")
    options = parser.parse_args(arguments)
    makers: dict[str, Callable[[], Cohort]] = {name: partial(_scored_set, name) for name in options.sets}
    makers |= {f"{SIMULATED}, seed {s}": partial(simulated, s, options.origins) for s in options.seeds}
    tables = _loaded(options.json)
    for name in makers.keys() - tables.keys():
        try:
            tables[name] = measured(makers[name]())
        except FileNotFoundError as error:
            print(f"skipped {name}, set LEADSCORE_DATA_DIR: {error}")
    tables = {name: tables[name] for name in makers if name in tables}
    if options.json is not None:
        options.json.write_text(json.dumps({name: _storable(at) for name, at in tables.items()}, indent=1))
    for name, table in {"plain": plain(tables), "worth": answers(tables), "ways": ways(tables)}.items():
        text = f"{table}\n\nMeasured {machine()}."
        print(f"\n{name}\n{text}")
        if options.write:
            write(DOCUMENT, name, text)


def _scored_set(name: str) -> Cohort:
    return scored(real(name))


def _storable(at: Measured) -> dict[str, list[dict[str, Any]]]:
    return {f"{k:.2f}": [vars(row) for row in found.values()] for k, found in at.items()}


def _loaded(path: Path | None) -> dict[str, Measured]:
    """What `_storable` made of earlier runs."""
    if path is None or not path.exists():
        return {}
    found = json.loads(path.read_text())
    return {
        name: {
            float(k): {(row["measure"], row["subject"]): Evidence(**row) for row in rows}
            for k, rows in at.items()
        }
        for name, at in found.items()
    }


if __name__ == "__main__":
    main()
