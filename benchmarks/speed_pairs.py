"""Training beside LightGBM in interleaved pairs on equal threads: seconds, ratios, PR-AUC; growth."""

import itertools
import math
from collections import defaultdict
from typing import Any

import numpy as np
import tables
from speed_fits import best_setting, draw, fit_lightgbm, fit_pkboost, timed

from pkboost_core.binning import fit_binning

HELD_OUT = 500_000
"""Rows; with fewer, luck of the test rows is as large as the difference that is looked for."""
AIMS = {10_000: 3.0, 100_000: 2.5, 1_000_000: 2.5}
"""Ratios aimed at by rows; the floor is 1.5."""
LARGEST = 4_000_000
"""Rows of the largest fit of the growth curve."""


def pairs_of(n: int, n_pairs: int) -> dict[str, Any]:
    """Fit both side by side on `n_pairs` draws: seconds, and held-out PR-AUC of the fits on two threads."""
    from sklearn.metrics import average_precision_score

    settings = {k: best_setting(n, k) for k in (1, 2)}
    found: dict[str, Any] = defaultdict(list)
    for seed in range(n_pairs):
        X, y = draw(n, seed)
        Z, truth = draw(HELD_OUT, 10_000 + seed)
        for k, setting in settings.items():
            seconds, ours = timed(
                lambda X=X, y=y, k=k, bins=setting["max_bin"]: fit_pkboost(X, y, bins, n_threads=k)
            )
            construction, training, theirs = fit_lightgbm(X, y, setting, k)
            found[f"ours {k}"].append(seconds)
            found[f"binning {k}"].append(binning_seconds(X, setting["max_bin"], k))
            found[f"construction {k}"].append(construction)
            found[f"training {k}"].append(training)
        gain = average_precision_score(truth, ours.predict_proba(Z)[:, 1])
        found["PR-AUC"].append(gain - average_precision_score(truth, theirs.predict(Z)))
    return {"settings": settings, **found}


def binning_seconds(X: np.ndarray, max_bins: int, n_threads: int) -> float:
    """Seconds PKBoost needs to find cuts and encode."""
    rng, numeric = np.random.default_rng(0), np.zeros(X.shape[1], dtype=np.bool_)
    return timed(lambda: fit_binning(X, max_bins, numeric, None, rng, n_threads).transform(X))[0]


def ratio_table(sizes: dict[str, dict]) -> str:
    """Return two rows per size: seconds, then LightGBM's over ours with the spread over pairs."""
    header = ["rows (LightGBM's fastest setting)", "threads", "PKBoost, s", "of it binning", "LightGBM, s"]
    header += ["ratio with construction", "aim", "ratio without", "PR-AUC, ours - theirs (seeds)"]
    rows = []
    for n, found in sizes.items():
        change = np.array(found["PR-AUC"])
        error = change.std(ddof=1) / np.sqrt(len(change))
        for k, setting in found["settings"].items():
            side = next(key for key in setting if key != "max_bin").removeprefix("force_")
            name = f"{int(n):,} ({side}, {setting['max_bin']} bins)"
            ours, binning = np.array(found[f"ours {k}"]), np.array(found[f"binning {k}"])
            training = np.array(found[f"training {k}"])
            whole = training + found[f"construction {k}"]
            cells = [name, k, *(f"{np.median(s):.2f}" for s in (ours, binning, whole))]
            is_met = np.median(whole / ours) >= AIMS[int(n)]
            cells += [spread(whole / ours), f"{AIMS[int(n)]:g}, {'met' if is_met else 'missed'}"]
            cells += [spread(training / (ours - binning))]
            rows.append([*cells, f"{change.mean():+.4f} +- {error:.4f} ({len(change)})"])
    return tables.markdown(header, rows)


def spread(values: np.ndarray) -> str:
    """Median, and the smallest and largest."""
    return f"{np.median(values):.2f} ({values.min():.2f}-{values.max():.2f})"


def growth(sizes: list[int]) -> dict[str, float]:
    """Seconds of one fit on one thread by number of rows, the better of two up to 100,000 rows."""
    found = {}
    for n in sizes:
        X, y = draw(n, 0)
        found[str(n)] = min(
            timed(lambda X=X, y=y: fit_pkboost(X, y))[0] for _ in range(2 if n <= 100_000 else 1)
        )
    return found


def growth_table(seconds: dict[str, float]) -> str:
    """Return seconds by size with the slope of log seconds over log rows to the size before."""
    slopes = [""]
    for (n1, t1), (n2, t2) in itertools.pairwise(seconds.items()):
        slopes.append(f"{math.log(t2 / t1) / math.log(int(n2) / int(n1)):.2f}")
    points = [(int(n), t) for n, t in seconds.items()]
    over_all = math.log(points[-1][1] / points[0][1]) / math.log(points[-1][0] / points[0][0])
    rows = [[f"{n:,}", f"{t:.2f}", slope] for (n, t), slope in zip(points, slopes, strict=True)]
    rows.append(["first to last", "", f"{over_all:.2f}"])
    return tables.markdown(["rows", "one fit on one thread, s", "growth exponent"], rows)
