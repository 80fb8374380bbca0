"""How good is PKBoost on its defaults: peers and ablations over the whole suite.

    python benchmarks/quality.py [--quick] [--ablation] [--json FILE] [--sets A B] [--models A B] [--write]

One JSON line per (set, seed, model) goes to FILE; what is there already is not run again, so a long run can
be cut into pieces. `--write` puts the tables into docs/pkboost_quality.md.
"""

import argparse
import os
import time
from collections.abc import Mapping
from pathlib import Path

import datasets
import models
import numpy as np
import tables
from scipy.stats import wilcoxon
from side_by_side import keep, kept, side_by_side

from pkboost_core import metrics

DOCUMENT = datasets.ROOT / "docs" / "pkboost_quality.md"
QUICK_SETS = ("churn", "mammography", "german", "olist", "generated_0.01")
ABLATIONS: dict[str, models.Fit] = {
    "PKBoost": models.pkboost(),
    **{f"mi_weight {w:g}": models.pkboost(mi_weight=w) for w in (0.03, 0.1, 0.3, 1.0)},
    "mi_weight 0.3, no decay": models.pkboost(mi_weight=0.3, mi_decay=0.0),
    "mi_weight 1, root only": models.pkboost(mi_weight=1.0, mi_decay=5.0),
    "no refit": models.pkboost(refit=False),
    **{f"{n} bins": models.pkboost(max_bins=n) for n in (32, 128, 255)},
    **{f"learning rate {r:g}": models.pkboost(learning_rate=r) for r in (0.03, 0.07, 0.1)},
    **{f"calibration {kind}": models.pkboost(calibration=kind) for kind in ("none", "intercept", "beta")},
    "linear leaves": models.pkboost(linear_leaves=True),
    "quality": models.pkboost(mode="quality"),
    "quality, columns alone": models.pkboost(mode="quality", cross_features=False),
    "quality, columns alone, constant leaves": models.pkboost(
        mode="quality", cross_features=False, linear_leaves=False
    ),
    "negatives sampled only": models.pkboost(keep_positives=True),
    "all rows": models.pkboost(subsample=1.0),
    "all columns": models.pkboost(colsample=1.0),
    "all rows and columns": models.pkboost(subsample=1.0, colsample=1.0),
    "half the rows and columns": models.pkboost(subsample=0.5, colsample=0.5),
    "16 leaves": models.pkboost(max_leaf_nodes=16),
    "depth 6": models.pkboost(max_depth=6),
    **{f"lambda {v:g}": models.pkboost(l2_regularization=v) for v in (0.0, 3.0)},
    "min child hessian 3": models.pkboost(min_child_hessian=3.0),
    "positives weighted sqrt": models.pkboost(scale_pos_weight="sqrt"),
}
"""Variants of PKBoost: one change each."""

LARGE, MAX_TRAIN_LARGE = ", up to 40,000 rows", 40_000
LARGE_ABLATIONS: dict[str, models.Fit] = {
    f"PKBoost{LARGE}": models.pkboost(),
    **{f"learning rate {r:g}{LARGE}": models.pkboost(learning_rate=r) for r in (0.03, 0.05, 0.07, 0.1)},
    **{f"{n} bins{LARGE}": models.pkboost(max_bins=n) for n in (64, 255)},
}
"""Variants of what follows the number of rows, on the sets that have enough of them."""

LARGE_SETS = (
    "bank_time", "bank_full", "hillstrom_visit", "hillstrom_conversion", "elec2", "adult", "generated_0.1",
    "generated_0.05", "generated_0.01", "generated_0.002",
)  # fmt: skip

KNOWN = {**models.SINGLE, **models.BAGS, **ABLATIONS, **LARGE_ABLATIONS}
FEW_SEEDS = {"Perpetual": 1}
"""Models that take minutes on some sets: these seeds only, in a table of their own."""

MEASURES = {
    "PR-AUC": metrics.average_precision,
    "ROC-AUC": metrics.roc_auc,
    "log-loss": metrics.log_loss,
    "calibration error": metrics.calibration_error,
}
SMALLER_IS_BETTER = {"log-loss", "calibration error", "seconds"}

Results = dict[tuple[str, int, str], dict[str, float]]
"""(set, seed, model) -> measures."""


def measure(data: datasets.Dataset, seed: int, name: str) -> dict[str, float]:
    """Fit on the training rows of a split, on one thread, and score the test rows."""
    max_train = MAX_TRAIN_LARGE if name.endswith(LARGE) else datasets.MAX_TRAIN_ROWS
    train, test = datasets.split(data, seed, max_train)
    started = time.perf_counter()
    predict = models.quietly(KNOWN[name])(data.X[train], data.y[train], data.categorical, seed, 1)
    seconds = time.perf_counter() - started
    p = predict(data.X[test])
    return {name: metric(data.y[test], p) for name, metric in MEASURES.items()} | {"seconds": seconds}


def measure_all(set_name: str, seed: int, names: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Measure models by name on one split."""
    data = datasets.load(set_name)
    return {name: measure(data, seed, name) for name in names}


def run(
    chosen: Mapping[str, int],
    sets: tuple[str, ...],
    seeds: int,
    file: Path | None,
    workers: int,
    is_anew: bool,
) -> Results:
    """Run what `file` does not hold yet and return everything asked for.

    Parameters
    ----------
    chosen : model -> most seeds it is run on.
    """
    lines = kept(file, is_anew)
    results: Results = {(line["set"], line["seed"], line["model"]): line["measures"] for line in lines}
    names = tuple(data.name for data in datasets.suite(sets))
    missing = {
        (name, seed): tuple(
            m
            for m, most in chosen.items()
            if seed < most
            and (name, seed, m) not in results
            and (name in LARGE_SETS or not m.endswith(LARGE))
        )
        for seed in range(seeds)
        for name in names
    }
    tasks = [(*split, asked) for split, asked in missing.items() if asked]
    for (name, seed, _), found in side_by_side(measure_all, tasks, workers):
        for model, measures in found.items():
            results[name, seed, model] = measures
            keep(file, [{"set": name, "seed": seed, "model": model, "measures": measures}])
    return {key: value for key, value in results.items() if key[:2] in missing and key[2] in chosen}


def grid(results: Results, names: list[str], measure_name: str) -> tuple[list[tuple[str, int]], np.ndarray]:
    """Return the (set, seed) pairs that every model ran on, and values of shape (pairs, models)."""
    pairs = sorted({key[:2] for key in results if all((*key[:2], name) in results for name in names)})
    values = [[results[(*pair, name)][measure_name] for name in names] for pair in pairs]
    return pairs, np.array(values, dtype=float).reshape(len(pairs), len(names))


def by_set(pairs: list[tuple[str, int]], values: np.ndarray) -> tuple[list[str], list[np.ndarray]]:
    """Group the rows of a grid by data set, in the suite's order."""
    sets = [name for name in datasets.LOADERS if any(pair[0] == name for pair in pairs)]
    return sets, [values[[pair[0] == name for pair in pairs]] for name in sets]


def mean_ranks(results: Results, names: list[str], measure_name: str) -> np.ndarray:
    """Return the mean over sets of the rank of each model's mean; 1 is best, ties share."""
    _, blocks = by_set(*grid(results, names, measure_name))
    sign = 1 if measure_name in SMALLER_IS_BETTER else -1
    means = np.array([sign * np.round(block.mean(axis=0), 6) for block in blocks])
    below = (means[:, :, None] > means[:, None, :]).sum(axis=2)
    equal = (means[:, :, None] == means[:, None, :]).sum(axis=2)
    return (below + (equal + 1) / 2).mean(axis=0)


def summary(results: Results, names: list[str]) -> str:
    """One row per model: means over sets, and mean ranks among single models and among all."""
    single = [name for name in names if name not in models.BAGS]
    ranks = {m: mean_ranks(results, names, m) for m in ("PR-AUC", "log-loss")}
    single_ranks = dict(zip(single, mean_ranks(results, single, "PR-AUC"), strict=True))
    means = {
        m: np.mean([b.mean(axis=0) for b in by_set(*grid(results, names, m))[1]], axis=0) for m in MEASURES
    }
    seconds = grid(results, names, "seconds")[1].sum(axis=0)
    rows = [
        [
            name,
            *(f"{means[m][i]:.4f}" for m in MEASURES),
            f"{single_ranks[name]:.2f}" if name in single_ranks else "",
            *(f"{ranks[m][i]:.2f}" for m in ranks),
            f"{seconds[i]:.0f}",
        ]
        for i, name in enumerate(names)
    ]
    header = [
        "model",
        *MEASURES,
        "rank PR-AUC, singles",
        "rank PR-AUC, all",
        "rank log-loss, all",
        "seconds, sum",
    ]
    return tables.markdown(header, sorted(rows, key=lambda row: float(row[6])))


def compare(results: Results, base: str, others: list[str]) -> str:
    """Wins, ties, losses of `base` per set, mean difference, and Holm-corrected Wilcoxon p over sets.

    A set is won or lost when the mean difference over seeds exceeds two standard errors (and 1e-5).
    """
    columns, p_values = [], []
    for measure_name in ("PR-AUC", "log-loss"):
        cells, p = zip(*(_duel(results, base, other, measure_name) for other in others), strict=True)
        columns.append(cells)
        p_values.append(holm(np.array(p)))
    rows = [
        [other, *columns[0][i], f"{p_values[0][i]:.3f}", *columns[1][i], f"{p_values[1][i]:.3f}"]
        for i, other in enumerate(others)
    ]
    parts = ("wins-ties-losses", "better on", "mean gain", "p (Holm)")
    header = [f"{base} against", *(f"{m}: {part}" for m in ("PR-AUC", "log-loss") for part in parts)]
    return tables.markdown(header, rows)


def _duel(results: Results, base: str, other: str, measure_name: str) -> tuple[list[str], float]:
    sign = -1 if measure_name in SMALLER_IS_BETTER else 1
    _, blocks = by_set(*grid(results, [base, other], measure_name))
    gains = [sign * (block[:, 0] - block[:, 1]) for block in blocks]
    means = np.array([gain.mean() for gain in gains])
    noise = np.array(
        [2 * gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else np.inf for gain in gains]
    )
    won, lost = int(np.sum(means > np.maximum(noise, 1e-5))), int(np.sum(-means > np.maximum(noise, 1e-5)))
    p = float(wilcoxon(means).pvalue) if np.any(means != 0) else 1.0
    better = f"{np.sum(means > 0)} of {len(means)}"
    return [f"{won}-{len(means) - won - lost}-{lost}", better, f"{means.mean():+.4f}"], p


def holm(p: np.ndarray) -> np.ndarray:
    """Return Holm's step-down adjusted p-values."""
    order, adjusted = np.argsort(p), np.empty(len(p))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p)))))
    return adjusted


def per_set(results: Results, names: list[str], measure_name: str) -> str:
    """Mean over seeds for every set and model, the best in bold."""
    sets, blocks = by_set(*grid(results, names, measure_name))
    rows = []
    for name, block in zip(sets, blocks, strict=True):
        means = block.mean(axis=0)
        best = means.argmin() if measure_name in SMALLER_IS_BETTER else means.argmax()
        rows.append([name, *(f"**{v:.4f}**" if i == best else f"{v:.4f}" for i, v in enumerate(means))])
    return tables.markdown([f"{measure_name}", *names], rows)


def report(results: Results, ablation: bool, write: bool) -> None:
    """Print the tables, and put them into the document when asked to."""
    known = {**ABLATIONS, **LARGE_ABLATIONS} if ablation else {**models.SINGLE, **models.BAGS}
    splits = {name: sum(key[2] == name for key in results) for name in known}
    enough = 1 if ablation else max(splits.values())
    names = [name for name in known if splits[name] >= enough]
    rest = [name for name in known if 0 < splits[name] < enough]
    if ablation:
        tables_of = {"ablation": "PKBoost", "ablation-large": f"PKBoost{LARGE}"}
        parts = {
            part: compare(
                results, base, [n for n in names if n != base and n.endswith(LARGE) == (LARGE in base)]
            )
            for part, base in tables_of.items()
            if base in names
        }
    else:
        parts = {"summary": summary(results, names)}
        for base in [name for name in ("PKBoost", "PKBoost quality") if name in names]:
            part = f"against-{base.lower().replace(' ', '-')}"
            parts[part] = compare(results, base, [name for name in names if name != base])
        parts |= {f"per-set-{m.lower()}": per_set(results, names, m) for m in ("PR-AUC", "log-loss")}
    for part, text in parts.items():
        shown = [n for n in names if n.endswith(LARGE) == part.endswith("-large")]
        _publish(part, f"{_about(results, shown)}\n\n{text}", write)
    if rest:
        most = max(splits[name] for name in rest)
        listed = [name for name in known if name in names or splits[name] == most]
        _publish("slow", f"{_about(results, listed)}\n\n{summary(results, listed)}", write)
        text = compare(results, "PKBoost quality", rest)
        seen = ", ".join(f"{splits[name]} splits with {name}" for name in rest)
        _publish("slow-against-pkboost-quality", f"{tables.machine()}. {seen}.\n\n{text}", write)


def _about(results: Results, names: list[str]) -> str:
    pairs = grid(results, names, "PR-AUC")[0]
    n_sets, n_seeds = len({pair[0] for pair in pairs}), len({pair[1] for pair in pairs})
    return f"{tables.machine()}. {n_sets} sets, {n_seeds} seeds, {len(pairs)} splits."


def _publish(part: str, text: str, write: bool) -> None:
    print(f"\n{part}\n{text}")
    if write:
        tables.write(DOCUMENT, part, text)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="five sets, two seeds, no CatBoost")
    parser.add_argument("--ablation", action="store_true", help="variants of PKBoost instead of peers")
    parser.add_argument(
        "--json", type=Path, help="file of results, one JSON line each; continued if it exists"
    )
    parser.add_argument("--sets", nargs="*", default=[])
    parser.add_argument("--models", nargs="*", default=[])
    parser.add_argument("--anew", action="store_true", help="do not continue FILE: measure everything")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes, one thread each")
    parser.add_argument("--write", action="store_true", help=f"write the tables into {DOCUMENT.name}")
    options = parser.parse_args()
    names = [*ABLATIONS, *LARGE_ABLATIONS] if options.ablation else [*models.SINGLE, *models.BAGS]
    sets, seeds = tuple(options.sets), options.seeds
    if options.quick:
        sets, seeds = sets or QUICK_SETS, min(seeds, 2)
        names = [name for name in names if name not in ("CatBoost", "Perpetual")]
    if options.models:
        names = [name for name in names if name in options.models]
    chosen = {name: min(seeds, FEW_SEEDS.get(name, seeds)) for name in names}
    results = run(chosen, sets, seeds, options.json, options.workers, options.anew)
    report(results, options.ablation, options.write)


if __name__ == "__main__":
    main()
