"""How fast PKBoost trains, starts, predicts and explains, beside its peers at the same settings.

    python benchmarks/speed.py [--quick] [--million-pairs N] [--json FILE] [--write]

Same rows (a new draw per pair), 40 features, 31 leaves, 100 rounds, learning rate .1, lambda 1, child
hessian 1, no sampling, no early stopping, no calibration. LightGBM runs on the fastest of its own settings,
found by a pilot per size, and PKBoost takes over its number of bins. The fits of a pair follow one another
on the same rows; the ratio is LightGBM's seconds over PKBoost's. `--write` puts the tables into
docs/pkboost_speed.md.
"""

import argparse
import itertools
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tables

from pkboost_core import PKBoostClassifier
from pkboost_core.binning import fit_binning
from pkboost_core.compiled import Kernel
from pkboost_core.explain import shap_values

DOCUMENT = Path(__file__).parents[1] / "docs" / "pkboost_speed.md"
N_FEATURES, LEAVES, ROUNDS, RATE, HELD_OUT = 40, 31, 100, 0.1, 50_000
PAIRS = {10_000: 9, 100_000: 5, 1_000_000: 5}
"""Pairs per number of rows."""

PEER_LIMIT = 60.0
"""Seconds a process is given: a peer that needs more for 100,000 rows is left out."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="10k and 100k rows against LightGBM only")
    parser.add_argument("--million-pairs", type=int, default=PAIRS[1_000_000], help="pairs at 1M rows")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--write", action="store_true", help=f"write the tables into {DOCUMENT.name}")
    parser.add_argument("--child", choices=CHILDREN, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(CHILDREN[options.child]()))
        return
    fit_pkboost(*draw(2_000, 0), 127)
    results: dict[str, Any] = {}
    for name, measure, table in sections(options.quick, PAIRS | {1_000_000: options.million_pairs}):
        seconds, results[name] = timed(measure)
        text = f"{tables.machine()}, {seconds:.0f} s.\n\n{table(results[name])}"
        print(f"\n{text}", flush=True)
        if options.write:
            tables.write(DOCUMENT, name, text)
        if options.json:
            options.json.write_text(json.dumps(results, indent=1))


Section = tuple[str, Callable[[], dict], Callable[[dict], str]]
"""Name, measurement, table."""


def sections(is_quick: bool, n_pairs: dict[int, int]) -> list[Section]:
    """Return what is measured, in order."""
    sizes = [n for n in PAIRS if not is_quick or n <= 100_000]
    found: list[Section] = [
        ("stages", lambda: {str(n): stages(n) for n in sizes}, stage_table),
        ("ratios", lambda: {str(n): pairs_of(n, 3 if is_quick else n_pairs[n]) for n in sizes}, ratio_table),
    ]
    if not is_quick:
        found += [("use", use, use_table), ("start", starts, start_table)]
        found += [("peers", lambda: peers(100_000), peer_table)]
    return found


def draw(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw rows with about 8 % positives, float32, 2 % of the first twenty columns' values missing."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, N_FEATURES), dtype=np.float32)
    score = (
        X[:, :10] @ np.linspace(0.9, 0.1, 10, dtype=np.float32) + np.sin(2 * X[:, 10]) + X[:, 11] * X[:, 12]
    )
    y = (rng.random(n) < 1 / (1 + np.exp(4.3 - 1.2 * score))).astype(np.float64)
    for column in X.T[:20]:
        column[rng.random(n) < 0.02] = np.nan
    return X, y


def pkboost(max_bins: int, rounds: int = ROUNDS, n_threads: int = 1) -> PKBoostClassifier:
    """Return PKBoost without what the peers do not do here."""
    return PKBoostClassifier(
        n_estimators=rounds,
        learning_rate=RATE,
        max_leaf_nodes=LEAVES,
        max_depth=None,
        min_child_hessian=1.0,
        max_bins=max_bins,
        subsample=1.0,
        colsample=1.0,
        mi_weight=0.0,
        early_stopping=False,
        refit=False,
        calibration="none",
        n_threads=n_threads,
    )


def fit_pkboost(X: np.ndarray, y: np.ndarray, max_bins: int, rounds: int = ROUNDS) -> PKBoostClassifier:
    """Fit on one thread."""
    return pkboost(max_bins, rounds).fit(X, y)


def timed(action: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds an action took, and what it returned."""
    start = time.perf_counter()
    outcome = action()
    return time.perf_counter() - start, outcome


def fit_lightgbm(
    X: np.ndarray, y: np.ndarray, setting: dict, n_threads: int, rounds: int = ROUNDS
) -> tuple[float, float, Any]:
    """Return the seconds to construct the data set, the seconds to train, and the model."""
    import lightgbm as lgb

    options = {"objective": "binary", "num_leaves": LEAVES, "learning_rate": RATE, "lambda_l2": 1.0}
    options |= {"min_sum_hessian_in_leaf": 1.0, "min_data_in_leaf": 1, "num_threads": n_threads}
    options |= {"verbose": -1} | setting
    construction, data = timed(lambda: lgb.Dataset(X, y, params=options).construct())
    training, model = timed(lambda: lgb.train(options, data, rounds))
    return construction, training, model


def best_setting(n: int) -> dict:
    """Return LightGBM's fastest setting for so many rows, by fits of a fifth of the rounds."""
    X, y = draw(n, 1000)
    seconds = []
    for max_bin in (127, 255):
        for side in ("force_col_wise", "force_row_wise"):
            setting = {"max_bin": max_bin, side: True}
            construction, training, _ = fit_lightgbm(X, y, setting, 1, ROUNDS // 5)
            seconds.append((construction + 5 * training, setting))
    return min(seconds, key=lambda pair: pair[0])[1]


def pairs_of(n: int, n_pairs: int) -> dict[str, Any]:
    """Fit both side by side on `n_pairs` draws: seconds and held-out PR-AUC of each."""
    from sklearn.metrics import average_precision_score

    setting = best_setting(n)
    found: dict[str, Any] = defaultdict(list)
    for seed in range(n_pairs):
        X, y = draw(n, seed)
        Z, truth = draw(HELD_OUT, 10_000 + seed)
        seconds, ours = timed(lambda X=X, y=y: fit_pkboost(X, y, setting["max_bin"]))
        found["ours"].append(seconds)
        found["binning"].append(binning_seconds(X, setting["max_bin"]))
        for n_threads in (1, 2):
            construction, training, theirs = fit_lightgbm(X, y, setting, n_threads)
            found[f"construction {n_threads}"].append(construction)
            found[f"training {n_threads}"].append(training)
        gain = average_precision_score(truth, ours.predict_proba(Z)[:, 1])
        found["PR-AUC"].append(gain - average_precision_score(truth, theirs.predict(Z)))
    return {"setting": setting, **found}


def binning_seconds(X: np.ndarray, max_bins: int) -> float:
    """Seconds PKBoost needs to find cuts and encode."""
    rng, numeric = np.random.default_rng(0), np.zeros(X.shape[1], dtype=np.bool_)
    return timed(lambda: fit_binning(X, max_bins, numeric, None, rng).transform(X))[0]


@contextmanager
def kernel_clock() -> Iterator[dict[str, float]]:
    """Add up the seconds of every compiled kernel by name."""
    seconds: dict[str, float] = defaultdict(float)
    call = Kernel.__call__

    def clocked(self: Kernel, *args: Any) -> Any:
        spent, outcome = timed(lambda: call(self, *args))
        seconds[self.function.__name__] += spent
        return outcome

    Kernel.__call__ = clocked  # type: ignore[method-assign]
    try:
        yield seconds
    finally:
        Kernel.__call__ = call  # type: ignore[method-assign]


def stages(n: int) -> dict[str, float]:
    """Seconds of each kernel in one fit; what is left is sorting for the cuts, and Python."""
    X, y = draw(n, 0)
    with kernel_clock() as seconds:
        total, _ = timed(lambda: fit_pkboost(X, y, 127))
    return dict(seconds) | {"sorting, Python": total - sum(seconds.values())}


def peers(n: int) -> dict[str, float]:
    """Seconds of one fit of every other library on one thread; infinite past the limit."""
    return {name: child(f"peer {name}").get("seconds", math.inf) for name in PEERS} | {
        "PKBoost": timed(lambda: fit_pkboost(*draw(n, 0), 127))[0]
    }


def xgboost(X: np.ndarray, y: np.ndarray) -> None:
    from xgboost import XGBClassifier

    shape = {"max_leaves": LEAVES, "max_depth": 0, "grow_policy": "lossguide", "max_bin": 127}
    XGBClassifier(n_estimators=ROUNDS, learning_rate=RATE, n_jobs=1, tree_method="hist", **shape).fit(X, y)


def hgb(X: np.ndarray, y: np.ndarray) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    HistGradientBoostingClassifier(
        max_iter=ROUNDS,
        learning_rate=RATE,
        max_leaf_nodes=LEAVES,
        max_bins=127,
        l2_regularization=1,
        early_stopping=False,
    ).fit(X, y)


def catboost(X: np.ndarray, y: np.ndarray) -> None:
    from catboost import CatBoostClassifier

    shape = {"grow_policy": "Lossguide", "max_leaves": LEAVES, "border_count": 127, "max_depth": 16}
    fixed = {"thread_count": 1, "verbose": False, "allow_writing_files": False}
    CatBoostClassifier(iterations=ROUNDS, learning_rate=RATE, **shape, **fixed).fit(X, y)


def chimeraboost(X: np.ndarray, y: np.ndarray) -> None:
    from chimeraboost import ChimeraBoostClassifier

    fixed = {"thread_count": 1, "ensemble_n_jobs": 1, "early_stopping": False}
    ChimeraBoostClassifier(n_estimators=ROUNDS, learning_rate=RATE, **fixed).fit(X, y)


def perpetual(X: np.ndarray, y: np.ndarray) -> None:
    from perpetual import PerpetualBooster

    PerpetualBooster(objective="LogLoss", num_threads=1).fit(X, y)


PEERS = {
    "XGBoost hist": xgboost,
    "HGB": hgb,
    "CatBoost (Lossguide)": catboost,
    "ChimeraBoost (its own tree shape)": chimeraboost,
    "Perpetual (its own number of trees)": perpetual,
}


def run_peer(name: str) -> dict[str, float]:
    """Fit a peer twice, the first time on few rows so that nothing is compiled or loaded in the second."""
    PEERS[name](*draw(2_000, 1))
    X, y = draw(100_000, 0)
    return {"seconds": timed(lambda: PEERS[name](X, y))[0]}


def run_start() -> dict[str, float]:
    """Seconds to import and fit 10k rows in a fresh process, and to fit again; the import ends above."""
    X, y = draw(10_000, 0)
    first, _ = timed(lambda: fit_pkboost(X, y, 127))
    again, _ = timed(lambda: fit_pkboost(X, y, 127))
    return {"first fit": first, "warm fit": again}


def run_memory() -> dict[str, float]:
    """Growth of the peak resident size while 1M rows are fitted, in MB."""
    fit_pkboost(*draw(2_000, 0), 127)
    X, y = draw(1_000_000, 0)
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_megabytes()
    fit_pkboost(X, y, 127, 5)
    return {"megabytes": peak_megabytes() - before}


def peak_megabytes() -> float:
    """Peak resident size since it was last cleared."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


CHILDREN: dict[str, Callable[[], dict[str, float]]] = {
    "start": run_start,
    "memory": run_memory,
    **{f"peer {name}": lambda name=name: run_peer(name) for name in PEERS},
}
"""What is measured in a process of its own."""


def child(name: str, **environment: str) -> dict[str, float]:
    """Run one of `CHILDREN` on one OpenMP thread; nothing comes back past the limit."""
    command = [sys.executable, __file__, "--child", name]
    settings = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    try:
        done = subprocess.run(
            command, env=settings, capture_output=True, text=True, timeout=PEER_LIMIT, check=True
        )
    except subprocess.TimeoutExpired:
        return {}
    return json.loads(done.stdout.splitlines()[-1])


IMPORT = "import time; s = time.perf_counter(); import pkboost_core; print(time.perf_counter() - s)"


def starts() -> dict[str, dict[str, float]]:
    """Import and first fit with an empty cache of compiled kernels, with a filled one, and warm."""
    found = {}
    with tempfile.TemporaryDirectory() as directory:
        for name in ("cold", "cached"):
            fits = child("start", NUMBA_CACHE_DIR=directory)
            done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
            found[name] = {"import": float(done.stdout), "fit of 10k rows": fits["first fit"]}
    found["warm"] = {"import": 0.0, "fit of 10k rows": fits["warm fit"]}
    return found


def use() -> dict[str, float]:
    """Prediction, explanation and two fits side by side."""
    X, y = draw(100_000, 0)
    setting = {"max_bin": 127}
    model, theirs = fit_pkboost(X, y, 127), fit_lightgbm(X, y, setting, 1)[2]
    ours_ns = min(timed(lambda: model.predict_proba(X))[0] for _ in range(3)) * 1e9 / len(X) / ROUNDS
    options = {"num_threads": 1}
    theirs_ns = min(timed(lambda: theirs.predict(X, **options))[0] for _ in range(3)) * 1e9 / len(X) / ROUNDS
    larger = fit_pkboost(X[:10_000], y[:10_000], 127, 200)
    shap = min(timed(lambda: shap_values(larger.ensemble_, X[:1_000]))[0] for _ in range(4))
    return {
        "prediction, ns per row and tree": ours_ns,
        "the same, LightGBM": theirs_ns,
        "SHAP of 1,000 rows x 200 trees, s": shap,
        "throughput of two fits on two threads (one = 1)": side_by_side(X, y),
        "peak MB beyond the input while 1M x 40 is fitted": child("memory")["megabytes"],
    }


def side_by_side(X: np.ndarray, y: np.ndarray) -> float:
    """Median over three of twice the seconds of one fit over the seconds of two at once."""
    ratios = []
    with ThreadPoolExecutor(2) as pool:
        for _ in range(3):
            alone, _ = timed(lambda: fit_pkboost(X, y, 127))
            both, _ = timed(lambda: list(pool.map(lambda _: fit_pkboost(X, y, 127), range(2))))
            ratios.append(2 * alone / both)
    return float(np.median(ratios))


def peer_table(seconds: dict[str, float]) -> str:
    """Return the peers by seconds."""
    ranked = sorted(seconds.items(), key=lambda pair: pair[1])
    cells = [[name, f"{s:.2f}" if math.isfinite(s) else f"> {PEER_LIMIT:.0f}"] for name, s in ranked]
    return tables.markdown(["100k rows, one thread, one fit", "seconds"], cells)


def start_table(found: dict[str, dict[str, float]]) -> str:
    """Return seconds by how the process starts."""
    lines = [[name, *(f"{s:.2f}" for s in row.values())] for name, row in found.items()]
    return tables.markdown(["start", "import, s", "first fit of 10k x 40, s"], lines)


def use_table(found: dict[str, float]) -> str:
    """Return what was measured once, by name."""
    return tables.markdown(["", "measured"], [[name, f"{value:.3g}"] for name, value in found.items()])


def growth(sizes: dict[str, dict]) -> str:
    """Slopes of log seconds over log rows between neighbouring sizes."""
    points = [(math.log(int(n)), math.log(np.median(found["ours"]))) for n, found in sizes.items()]
    return ", ".join(f"{(t2 - t1) / (n2 - n1):.2f}" for (n1, t1), (n2, t2) in itertools.pairwise(points))


def ratio_table(sizes: dict[str, dict]) -> str:
    """Return one row per size: seconds, then LightGBM's over ours with the spread over pairs."""
    header = ["rows (LightGBM's fastest setting)", "PKBoost, s", "of it binning", "LightGBM, s: 1, 2 threads"]
    header += [f"ratio {what}, {k} threads" for k in (1, 2) for what in ("with construction", "without")]
    rows = []
    for n, found in sizes.items():
        side = next(key for key in found["setting"] if key != "max_bin").removeprefix("force_")
        ours, binning = np.array(found["ours"]), np.array(found["binning"])
        cells = [f"{int(n):,} ({side}, {found['setting']['max_bin']} bins)", f"{np.median(ours):.2f}"]
        cells.append(f"{np.median(binning):.2f}")
        theirs, ratios = [], []
        for k in (1, 2):
            training = np.array(found[f"training {k}"])
            whole = training + found[f"construction {k}"]
            theirs.append(f"{np.median(whole):.2f}")
            ratios += [spread(whole / ours), spread(training / (ours - binning))]
        change = np.array(found["PR-AUC"])
        rows.append([*cells, ", ".join(theirs), *ratios, f"{change.mean():+.4f} ({len(change)})"])
    table = tables.markdown([*header, "PR-AUC, ours - theirs (pairs)"], rows)
    return f"{table}\n\nGrowth exponent of PKBoost's seconds between neighbouring sizes: {growth(sizes)}."


def spread(values: np.ndarray) -> str:
    """Median, and the smallest and largest."""
    return f"{np.median(values):.2f} ({values.min():.2f}-{values.max():.2f})"


def stage_table(sizes: dict[str, dict]) -> str:
    """Seconds of each kernel by number of rows."""
    names = [name for name, s in next(reversed(sizes.values())).items() if s >= 5e-4]
    rows = [[name, *(f"{found.get(name, 0.0):.3f}" for found in sizes.values())] for name in names]
    return tables.markdown(["one fit of 100 trees, seconds", *(f"{int(n):,} rows" for n in sizes)], rows)


if __name__ == "__main__":
    main()
