"""What a frozen model loses when its inputs are disturbed: fifteen perturbations, two choices of columns.

    python benchmarks/perturbation.py [--quick] [--json FILE] [--sets A B] [--seeds N] [--write]

Every model sees the same disturbed test matrix. Two losses are reported: *raw* = (PR-AUC undisturbed -
disturbed) / undisturbed, each model against itself; and *avoidable* = the relative distance to a regularised
LightGBM retrained, with labels, on training rows disturbed the same way: what nothing could keep is left out.
"""

import argparse
import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import datasets
import models
import numpy as np
import tables
from side_by_side import keep, kept, side_by_side

from pkboost_core import PKBoostClassifier, align
from pkboost_core.metrics import average_precision
from pkboost_core.reference import fit_reference

DOCUMENT = datasets.ROOT / "docs" / "pkboost_perturbation.md"
SETS = (
    "credit", "churn", "mammography", "oil_spill", "phoneme", "pima", "noaa_weather", "online_shoppers",
    "bank_full",
)  # fmt: skip
TIME_SPLIT = ("xeducation", "olist", "bank_time", "online_shoppers", "elec2", "noaa_weather")
MAX_ROWS = 5000
UPSTREAM_COLUMNS = (0, 5, 10, 15, 20, 25, 29)
"""Columns of the published protocol, on thirty; scaled to the width of each set."""

Perturb = Callable[[np.ndarray, np.ndarray, list[int], np.random.Generator], None]
"""perturb(X, sigma, columns, rng) changes X in place; `columns` are the chosen ones, most important first."""


def shift(mean: float, noise: float, n_columns: int) -> Perturb:
    """Add a constant number of standard deviations and a little noise."""

    def perturb(X, sigma, columns, rng) -> None:
        for j in columns[:n_columns]:
            X[:, j] += sigma[j] * rng.normal(mean, noise, len(X))

    return perturb


def scale(*factors: float) -> Perturb:
    def perturb(X, sigma, columns, rng) -> None:
        for j, factor in zip(columns, factors, strict=False):
            X[:, j] *= factor

    return perturb


def noise(spread: float) -> Perturb:
    """Add noise to every number."""

    def perturb(X, sigma, columns, rng) -> None:
        for j in np.flatnonzero(sigma > 0):
            X[:, j] += sigma[j] * rng.normal(0, spread, len(X))

    return perturb


def along_rows(change: Callable[[np.ndarray], np.ndarray], n_columns: int) -> Perturb:
    """Add standard deviations that depend on how far down the batch a row stands (0 to 1)."""

    def perturb(X, sigma, columns, rng) -> None:
        place = np.linspace(0, 1, len(X))
        for j in columns[:n_columns]:
            X[:, j] += sigma[j] * change(place)

    return perturb


def flip(X, sigma, columns, rng) -> None:
    for j in columns[:5]:
        X[:, j] *= -1


def decay(X, sigma, columns, rng) -> None:
    for j in columns[:4]:
        X[:, j] *= np.exp(-2 * np.arange(len(X)) / len(X))


def rotate(X, sigma, columns, rng) -> None:
    """Turn five pairs of neighbours among the chosen columns by fifteen degrees, in units of sigma."""
    c, s = np.cos(np.pi / 12), np.sin(np.pi / 12)
    for i, j in pairwise(columns[:6]):
        a, b = X[:, i] / sigma[i], X[:, j] / sigma[j]
        X[:, i], X[:, j] = sigma[i] * (c * a - s * b), sigma[j] * (s * a + c * b)


def outliers(X, sigma, columns, rng) -> None:
    """Throw a tenth of the rows five or more standard deviations out."""
    for j in columns[:5]:
        hit = rng.random(len(X)) < 0.1
        far = (5 + np.abs(rng.normal(size=len(X)))) * rng.choice([-1, 1], len(X))
        X[hit, j] = np.nanmean(X[:, j]) + sigma[j] * far[hit]


def combined(X, sigma, columns, rng) -> None:
    shift(0.7, 0.0, 6)(X, sigma, columns, rng)
    noise(0.3)(X, sigma, columns, rng)
    scale(1.5, 1.5, 1.5)(X, sigma, columns, rng)


SCENARIOS: dict[str, Perturb] = {
    "shift .2 sigma": shift(0.2, 0.05, 5),
    "shift .5 sigma": shift(0.5, 0.1, 6),
    "shift 1 sigma": shift(1.0, 0.2, 6),
    "shift 2 sigma": shift(2.0, 0.3, 7),
    "sign flip": flip,
    "linear drift": along_rows(lambda place: place, 5),
    "sudden 1.5 sigma": along_rows(lambda place: 1.5 * (place >= 0.5), 6),
    "noise .5 sigma": noise(0.5),
    "noise 1.5 sigma": noise(1.5),
    "scaling": scale(0.5, 1.5, 2, 0.3, 2.5, 1.8),
    "rotation": rotate,
    "outliers": outliers,
    "combined": combined,
    "decay": decay,
    "cycle": along_rows(lambda place: 0.5 * np.sin(4 * np.pi * place), 3),
}

FROZEN: dict[str, models.Fit] = {
    "PKBoost": models.pkboost(),
    "PKBoost quality": models.pkboost(mode="quality"),
    "PKBoost bag": models.pkboost(mode="quality", cross_features=False, linear_leaves=False),
    "LightGBM": models.lightgbm(),
    "LightGBM regularised": models.lightgbm(stop=True, **models.REGULARISED),
    "XGBoost": models.xgboost(),
    "XGBoost regularised": models.xgboost(stop=True, min_child_weight=1.0, reg_lambda=1.0, learning_rate=0.1),
    "CatBoost": models.catboost(),
    "CatBoost stopped early": models.catboost(stop=True),
}
ALIGNED = ("PKBoost", "PKBoost quality", "PKBoost bag", "LightGBM regularised")
"""Models that are also run on aligned batches: alignment is not tied to a booster."""
RETRAINED = models.lightgbm(**models.REGULARISED)


def chosen_columns(variant: str, data: datasets.Dataset, gain: np.ndarray) -> list[int]:
    """Return seven numeric columns at most: spread evenly as published, or by gain."""
    numeric = [j for j in range(data.X.shape[1]) if j not in data.categorical]
    if variant == "important":
        return sorted(numeric, key=lambda j: -gain[j])[:7]
    return list(dict.fromkeys(numeric[c * len(numeric) // 30] for c in UPSTREAM_COLUMNS))


def disturb(data: datasets.Dataset, X: np.ndarray, name: str, columns: list[int], seed: int) -> np.ndarray:
    """Return a disturbed copy; categories stay as they are, missing values stay missing."""
    X, sigma = X.copy(), np.nanstd(X, axis=0)
    sigma[list(data.categorical)] = 0
    columns = [j for j in columns if sigma[j] > 0]
    SCENARIOS[name](X, sigma, columns, np.random.default_rng([seed, list(SCENARIOS).index(name)]))
    return X


def random_split(data: datasets.Dataset, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split at random even where there is time, so that only the perturbation moves; rows in random order."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(data.y))[:MAX_ROWS]
    cut = round(0.65 * len(order))
    return order[:cut], order[cut:]


def experiment(set_name: str, seed: int, names: tuple[str, ...]) -> list[dict]:
    """Fit every model once and score it under every scenario and variant."""
    data = datasets.load(set_name)
    train, test = random_split(data, seed)
    X, y, Z, truth = data.X[train], data.y[train], data.X[test], data.y[test]
    frozen = {name: models.quietly(FROZEN[name])(X, y, data.categorical, seed, 1) for name in names}
    reference = fit_reference(X, categorical=data.categorical)
    gain = _gain(data, X, y)

    def scores(batch: np.ndarray) -> dict[str, float]:
        aligned, _ = align.align(reference, batch)
        found = {name: average_precision(truth, predict(batch)) for name, predict in frozen.items()}
        for name in ALIGNED:
            if name in frozen:
                found[f"{name} aligned"] = average_precision(truth, frozen[name](aligned))
        return found

    base = scores(Z)
    best = average_precision(truth, _retrained(data, X, y)(Z))
    rows = [_row(data, seed, "none", "undisturbed", base, base, best)]
    for variant in ("upstream", "important"):
        columns = chosen_columns(variant, data, gain)
        for name in SCENARIOS:
            batch = disturb(data, Z, name, columns, seed)
            oracle = _retrained(data, disturb(data, X, name, columns, seed + 500), y)
            best = average_precision(truth, oracle(batch))
            rows.append(_row(data, seed, variant, name, base, scores(batch), best))
    return rows


def _retrained(data: datasets.Dataset, X: np.ndarray, y: np.ndarray) -> models.Predict:
    return models.quietly(RETRAINED)(X, y, data.categorical, 0, 1)


def _gain(data: datasets.Dataset, X: np.ndarray, y: np.ndarray) -> np.ndarray:
    import lightgbm as lgb

    options = {"objective": "binary", "verbose": -1, "num_threads": 1, **models.REGULARISED}
    model = lgb.train(options, lgb.Dataset(X, y, categorical_feature=list(data.categorical)), 100)
    return model.feature_importance("gain")


def _row(data, seed, variant, scenario, base, found, best) -> dict:
    key = {"set": data.name, "seed": seed, "variant": variant, "scenario": scenario}
    return {**key, "base": base, "found": found, "retrained": best}


def run(
    sets: tuple[str, ...],
    seeds: int,
    file: Path | None,
    names: tuple[str, ...],
    workers: int,
    is_anew: bool,
) -> list[dict]:
    """Run the (set, seed) pairs that `file` does not hold yet; return the rows of all."""
    rows = [row for row in kept(file, is_anew) if has_all(row, names)]
    done = {(row["set"], row["seed"]) for row in rows}
    suite = [data.name for data in datasets.suite(sets)]
    splits = [(name, seed) for seed in range(seeds) for name in suite]
    tasks = [(*split, names) for split in splits if split not in done]
    for _, new in side_by_side(experiment, tasks, workers):
        rows += new
        keep(file, new)
    return rows


def has_all(row: dict, names: tuple[str, ...]) -> bool:
    """Whether a row holds these models."""
    return set(names) <= set(row["found"])


def losses(rows: list[dict], variant: str, scenario: str, name: str) -> tuple[float, float]:
    """Return the mean raw and mean avoidable loss in percent, over sets and seeds.

    The raw loss of an aligned model is taken against the same model undisturbed and not aligned.
    """
    chosen = [row for row in rows if row["variant"] == variant and row["scenario"] == scenario]
    plain = name.removesuffix(" aligned")
    raw = [1 - row["found"][name] / row["base"][plain] for row in chosen]
    avoidable = [1 - row["found"][name] / row["retrained"] for row in chosen]
    return 100 * float(np.mean(raw)), 100 * float(np.mean(avoidable))


def table(rows: list[dict], variant: str, kind: int) -> str:
    """One row per scenario, one column per model; the smallest loss in bold; `kind` 0 raw, 1 avoidable."""
    names = list(rows[0]["found"])
    body = [[losses(rows, variant, scenario, name)[kind] for name in names] for scenario in SCENARIOS]
    body.append(list(np.mean(body, axis=0)))
    cells = [
        [title, *(f"**{v:.1f}**" if v == min(line) else f"{v:.1f}" for v in line)]
        for title, line in zip([*SCENARIOS, "mean"], body, strict=True)
    ]
    return tables.markdown(["loss of PR-AUC, %", *names], cells)


def scenarios_won(rows: list[dict], variant: str, name: str) -> int:
    """Count scenarios in which a model's raw loss is below that of every frozen peer."""
    frozen = [other for other in rows[0]["found"] if not other.endswith(" aligned")]
    peers = [other for other in frozen if not other.startswith("PKBoost")]
    return sum(
        losses(rows, variant, s, name)[0] < min(losses(rows, variant, s, peer)[0] for peer in peers)
        for s in SCENARIOS
    )


def price(seeds: int) -> str:
    """What alignment costs where nothing is disturbed, and on splits by time, where populations move."""
    cells = []
    for ordered, names in ((False, SETS), (True, TIME_SPLIT)):
        for data in datasets.suite(names):
            found = [_price(data, seed, ordered) for seed in range(seeds)]
            cost = [100 * value for value, _ in found]
            touched = sorted({f"{data.names[t.column]} ({t.reason})" for _, report in found for t in report})
            split = "time" if ordered else "random"
            cells.append(
                [data.name, split, f"{np.mean(cost):.2f}", f"{np.max(cost):.2f}", ", ".join(touched)]
            )
    return tables.markdown(["set", "split", "mean loss, %", "largest loss, %", "columns touched"], cells)


def _price(data: datasets.Dataset, seed: int, ordered: bool) -> tuple[float, list[align.Touched]]:
    train, test = datasets.split(data, seed) if ordered else random_split(data, seed)
    X, y, Z, truth = data.X[train], data.y[train], data.X[test], data.y[test]
    plain, robust = (
        PKBoostClassifier(categorical_features=list(data.categorical), random_state=seed, robust=robust).fit(
            X, y
        )
        for robust in (False, True)
    )
    base = average_precision(truth, plain.predict_proba(Z)[:, 1])
    return 1 - average_precision(truth, robust.predict_proba(Z)[:, 1]) / base, robust.align(Z)[1]


def report(rows: list[dict], seeds: int, write: bool) -> None:
    """Print the tables, and put them into the document when asked to."""
    n_sets, n_pairs = len({row["set"] for row in rows}), len({(row["set"], row["seed"]) for row in rows})
    about = f"{tables.machine()}. {n_sets} real sets, {n_pairs} (set, seed) pairs."
    parts = {}
    for variant in ("upstream", "important"):
        for kind, title in enumerate(("raw", "avoidable")):
            parts[f"{variant}-{title}"] = table(rows, variant, kind)
        won = {name: scenarios_won(rows, variant, name) for name in rows[0]["found"] if "PKBoost" in name}
        lines = [
            f"{name}: below every frozen peer's raw loss in {count} of 15 scenarios."
            for name, count in won.items()
        ]
        parts[f"{variant}-won"] = "\n".join(f"* {line}" for line in lines)
    parts["price"] = price(seeds)
    for part, text in parts.items():
        print(f"\n{part}\n{text}")
        if write:
            tables.write(DOCUMENT, part, f"{about}\n\n{text}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="three sets, one seed, no CatBoost")
    parser.add_argument(
        "--json", type=Path, help="file of results, one JSON line each; continued if it exists"
    )
    parser.add_argument("--sets", nargs="*", default=[])
    parser.add_argument("--anew", action="store_true", help="do not continue FILE: measure everything")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes, one thread each")
    parser.add_argument("--write", action="store_true", help=f"write the tables into {DOCUMENT.name}")
    options = parser.parse_args()
    sets, seeds, names = tuple(options.sets) or SETS, options.seeds, tuple(FROZEN)
    if options.quick:
        sets, seeds = sets[:3], 1
        names = tuple(name for name in names if not name.startswith("CatBoost"))
    rows = run(sets, seeds, options.json, names, options.workers, options.anew)
    report(rows, seeds, options.write)


if __name__ == "__main__":
    main()
