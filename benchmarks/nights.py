"""Whole nights: simulated CRMs against the truth's ceiling, and real exports judged by what came later.

    python benchmarks/nights.py --write

For each seed a CRM of 10,000 leads is simulated and the night's own training is run on it. The model that
is measured has seen what was known on the first day of the newest mature cohort, nothing more; the ceiling
is the true conversion probability of the same rows. `expected` replaces the drawn outcomes, a few dozen
conversions, by their true probabilities: the mean over redrawn outcomes.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import data_dir
from own_home import forget_settings
from tables import machine, markdown, write

N_REDRAWN = 200
README = Path(__file__).parents[1] / "README.md"
EXPORTS = {
    "x_education": ("xeducation/Leads.csv",),
    "olist": (
        "olist/olist_marketing_qualified_leads_dataset.csv",
        "olist/olist_closed_deals_dataset.csv",
    ),
}


def simulated(seed: int, home: Path) -> dict[str, Any]:
    """One simulated CRM: our model and the ceiling on the newest mature cohort."""
    from simulated_crm import simulated_crm, true_chances

    from flows.adapters.database import open_database
    from flows.adapters.settings import Settings
    from flows.lead_model import LabelDefinition
    from flows.training import train
    from simulator import SimulationConfig

    settings, config = Settings(home=home, database_url=None), SimulationConfig(seed=seed)
    with open_database(settings) as database:
        sources, hidden = simulated_crm(database, config)
    label = LabelDefinition(settings.horizon_days, settings.reporting_lag_days, "")
    trained = train(sources, config.end, settings, label, "", None)
    keys = trained.evaluation_keys.select("lead_id", "snapshot_date")
    truth = true_chances(hidden, keys, settings.horizon_days)
    return {"seed": seed} | _against_ceiling(trained.evaluation_y, trained.evaluation_p, truth)


def _against_ceiling(y: np.ndarray, p: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    from pkboost_core.metrics import average_precision, precision_at, roc_auc

    rng = np.random.default_rng(0)
    redrawn = [(rng.random(len(truth)) < truth).astype(np.float64) for _ in range(N_REDRAWN)]
    expected = np.mean([[average_precision(d, p), average_precision(d, truth)] for d in redrawn], axis=0)
    return {
        "n_rows": len(y),
        "n_positives": int(y.sum()),
        "prevalence": float(y.mean()),
        "roc_auc": roc_auc(y, p),
        "ceiling_roc_auc": roc_auc(y, truth),
        "average_precision": average_precision(y, p),
        "ceiling_average_precision": average_precision(y, truth),
        "expected_share_of_ceiling": float(expected[0] / expected[1]),
        "precision_at_2pct_over_prevalence": precision_at(y, p, share=0.02) / float(y.mean()),
    }


def imported(name: str, home: Path) -> dict[str, Any]:
    """One export through import and a night in a home of its own."""
    from flows.adapters.database import open_database
    from flows.adapters.importer import import_files
    from flows.adapters.migrations import migrate
    from flows.adapters.prefect_server import prefect_runtime
    from flows.adapters.settings import Settings
    from flows.nightly import run_nightly
    from flows.progress import Progress

    settings = Settings(home=home)
    with prefect_runtime(settings) as prefect, open_database(settings) as database:
        prefect.wait_ready()
        migrate(database)
        import_files(database, [data_dir() / file for file in EXPORTS[name]], name)
        return {"name": name} | run_nightly(settings, database, None, Progress())


def tables(worlds: Sequence[dict[str, Any]], nights: Sequence[dict[str, Any]]) -> str:
    """Both tables as Markdown, with date and machine."""
    columns = ["seed", "conversions", "prevalence", "ROC-AUC (ceiling)", "PR-AUC (ceiling)",
               "PR-AUC / ceiling, expected", "top 2 % / prevalence"]  # fmt: skip
    rows = [
        [w["seed"], w["n_positives"], f"{w['prevalence']:.1%}",
         f"{w['roc_auc']:.3f} ({w['ceiling_roc_auc']:.3f})",
         f"{w['average_precision']:.3f} ({w['ceiling_average_precision']:.3f})",
         f"{w['expected_share_of_ceiling']:.0%}", f"{w['precision_at_2pct_over_prevalence']:.1f}x"]
        for w in worlds
    ]  # fmt: skip
    parts = [f"Measured {machine()}.", "", markdown(columns, rows)]
    if nights:
        parts += [
            "",
            markdown(["export", "scored", "prevalence", "ROC-AUC", "PR-AUC"], list(_export_rows(nights))),
        ]
    return "\n".join(parts)


def _export_rows(nights: Sequence[dict[str, Any]]) -> Iterator[list[str]]:
    for night in nights:
        for when, found in (("backtest", night), ("hindsight", night["hindsight"] or {})):
            if found.get("roc_auc") is not None:
                yield [f"{night['name']}, {when}", f"{night['n_scored']:,}", f"{found['prevalence']:.1%}",
                       _interval(found, "roc_auc"), _interval(found, "average_precision")]  # fmt: skip


def _interval(found: dict[str, Any], name: str) -> str:
    return f"{found[name]:.3f} ({found[name + '_low']:.3f} to {found[name + '_high']:.3f})"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="*", default=[7, 20, 21, 22, 23])
    parser.add_argument("--exports", nargs="*", default=list(EXPORTS), choices=list(EXPORTS))
    parser.add_argument("--json", action="store_true", help="print all numbers as JSON")
    parser.add_argument("--write", action="store_true", help="write the tables into README.md")
    options = parser.parse_args()
    forget_settings()
    with tempfile.TemporaryDirectory() as root:
        worlds = [simulated(seed, Path(root, f"seed{seed}")) for seed in options.seeds]
        nights = [imported(name, Path(root, name)) for name in options.exports]
    text = tables(worlds, nights)
    if options.write:
        write(README, "nights", text)
    print(json.dumps({"simulated": worlds, "exports": nights}, default=str) if options.json else text)


if __name__ == "__main__":
    main()
