"""The tables of docs/drift.md: every claim met or missed with its numbers, then all policies."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from drift_fits import WINDOWS
from drift_policies import (
    FAKED,
    GATED,
    LIGHTGBM,
    MATURED_ONLY,
    ORACLE_POLICY,
    PEERS,
    REFERENCE,
    SMALL,
    SMALL_REFERENCE,
    SOFT_LABELS,
    schedules,
)
from drift_worlds import DRIFTED, HARMED, KINDS, QUIET
from scipy import stats
from tables import machine, markdown

MOST_WORSE, MOST_FALL = -0.005, 0.028
MOST_PAGES, MOST_WEEKS = 0.5, 8
NEVER_WEEKS = 26
LEVEL = 0.05
TUNED = "window tuned on burn-in"

Row = Mapping[str, Any]


def report(results: Row) -> dict[str, str]:
    """Return the texts by the name of their markers."""
    results = {**results, "runs": [*results["runs"], *_tuned_on_burn_in(results["runs"])]}
    worlds = Counter(kind for kind, _ in {(run["kind"], run["seed"]) for run in results["runs"]})
    kinds = [kind for kind in KINDS if worlds[kind]]
    about = (
        f"{machine()}. Worlds of {results['leads']:,} leads: "
        + ", ".join(f"{worlds[kind]} {kind}" for kind in kinds)
        + f". {results['cpu_seconds'] / 60:.0f} minutes of one core."
    )
    claims = [
        _quiet_precision(results), _falls(results), _real_sets(results), _recovery(results),
        _late_labels(results), *_false_pages(results), _poison(results), _no_harm(results),
    ]  # fmt: skip
    texts = {
        "claims": f"{about}\n\n" + markdown(["claim", "met?", "measured"], claims),
        "policies": "\n\n".join(f"{kind}:\n\n{_policies(results, kind)}" for kind in kinds),
    }
    if results["streams"]:
        texts["streams"] = _streams(results["streams"])
    return texts


def _tuned_on_burn_in(runs: Sequence[Row]) -> list[Row]:
    """Return, per world and peer, the nightly refits with the least log-loss before the world changed."""
    nightly: dict[tuple[str, str, int], list[Row]] = {}
    for run in runs:
        for peer in PEERS:
            if run["policy"].startswith(f"{peer} nightly, "):
                nightly.setdefault((peer, run["kind"], run["seed"]), []).append(run)
    return [
        {**min(found, key=lambda run: run["before"]["log_loss"]), "policy": f"{peer} nightly, {TUNED}"}
        for (peer, _, _), found in nightly.items()
        if len(found) == len(WINDOWS)
    ]


def _runs(results: Row, kinds: Sequence[str], policy: str) -> list[Row]:
    found = [run for run in results["runs"] if run["kind"] in kinds and run["policy"] == policy]
    return sorted(found, key=lambda run: (run["kind"], run["seed"]))


def _paired(results: Row, kinds: Sequence[str], first: str, second: str) -> list[tuple[Row, Row]]:
    there = {(run["kind"], run["seed"]): run for run in _runs(results, kinds, second)}
    return [
        (run, there[run["kind"], run["seed"]])
        for run in _runs(results, kinds, first)
        if (run["kind"], run["seed"]) in there
    ]


def _quiet_precision(results: Row) -> list[str]:
    name = "(a) quiet worlds: precision at capacity at most .5 % below nightly LightGBM"
    gains = _precision_gains(results, REFERENCE)
    if not len(gains):
        return [name, "not run", ""]
    words = f"mean {gains.mean():+.1%}, worst of {len(gains)} worlds {gains.min():+.1%}"
    beside = _precision_gains(results, SMALL_REFERENCE)
    if len(beside):
        below = int((beside < MOST_WORSE).sum())
        words += (
            f"; beside LightGBM in PKBoost's settings: mean {beside.mean():+.1%}, worst {beside.min():+.1%}, "
            f"{below} of {len(beside)} worlds below -.5 %"
        )
    return [name, _met(gains.min() >= MOST_WORSE), words]


def _precision_gains(results: Row, reference: str) -> np.ndarray:
    pairs = _paired(results, QUIET, GATED, reference)
    return np.array([ours["all"]["precision"] / theirs["all"]["precision"] - 1 for ours, theirs in pairs])


def _falls(results: Row) -> list[str]:
    name = "(b) concept and prior: PR-AUC / ceiling falls by at most 2.8 % once recovered"
    policies = (
        GATED,
        "PKBoost nightly, ungated",
        ORACLE_POLICY,
        "PKBoost static",
        *(f"{peer} static" for peer in PEERS),
    )
    runs = {policy: _runs(results, HARMED, policy) for policy in policies}
    falls = {policy: _mean_fall(found) for policy, found in runs.items()}
    if falls[GATED] is None:
        return [name, "not run", ""]
    words = ", ".join(
        f"{policy} {fall:.1%} ({len(runs[policy])} worlds)"
        for policy, fall in falls.items()
        if fall is not None
    )
    twin = _beside_quiet_twin(results)
    if twin is not None:
        words += f"; the loop beside the same CRM without drift, on the same nights: {twin:.1%}"
    return [name, _met(falls[GATED] <= MOST_FALL), words]


def _beside_quiet_twin(results: Row) -> float | None:
    """How much lower the loop ends than in the quiet world of the same seed: both have learnt as long."""
    quiet = {run["seed"]: run["recovered"]["share_of_ceiling"] for run in _runs(results, ("none",), GATED)}
    falls = [
        1 - run["recovered"]["share_of_ceiling"] / quiet[run["seed"]]
        for run in _runs(results, HARMED, GATED)
        if run["seed"] in quiet
    ]
    return float(np.mean(falls)) if falls else None


def _mean_fall(runs: Sequence[Row]) -> float | None:
    falls = [1 - run["recovered"]["share_of_ceiling"] / run["before"]["share_of_ceiling"] for run in runs]
    return float(np.mean(falls)) if falls else None


def _real_sets(results: Row) -> list[str]:
    name = "(b) real sets with delay: PR-AUC of the loop at most 2.8 % below the oracle without delay"
    sets = {one["name"] for one in results["streams"] if one["policy"] == ORACLE_POLICY}
    found = {
        one["name"]: 1 - one["share_of_oracle"]
        for one in results["streams"]
        if one["name"] in sets and one["policy"] == GATED
    }
    if not found:
        return [name, "not run", ""]
    words = ", ".join(
        f"{which} {abs(fall):.1%} {'below' if fall > 0 else 'above'}" for which, fall in found.items()
    )
    return [name, _met(max(found.values()) <= MOST_FALL), words]


def _recovery(results: Row) -> list[str]:
    """Compare world by world: of all worlds together half recover at once, where a median says nothing."""
    name = "(b) recovers at least as soon as nightly LightGBM on the best of its windows"
    default, small = (_weeks_beside(results, peer) for peer in (LIGHTGBM, SMALL))
    if not len(default):
        return [name, "not run", ""]
    own, best = default.T
    words = _sooner(default)
    if len(small):
        words += f"; beside LightGBM in PKBoost's settings: {_sooner(small)}"
    return [name, _met(np.sign(best - own).sum() >= 0 and own.mean() <= best.mean()), words]


def _weeks_beside(results: Row, peer: str) -> np.ndarray:
    """Return weeks to recover of the loop and of a peer's nightly refits on its best window, (worlds, 2)."""
    windows: dict[tuple[str, int], float] = {}
    for run in results["runs"]:
        if run["kind"] in HARMED and run["policy"].startswith(f"{peer} nightly"):
            world = (run["kind"], run["seed"])
            windows[world] = min(windows.get(world, math.inf), run["weeks_to_recover"])
    pairs = [
        (run["weeks_to_recover"], windows[run["kind"], run["seed"]])
        for run in _runs(results, HARMED, GATED)
        if (run["kind"], run["seed"]) in windows
    ]
    return np.minimum(np.array(pairs, dtype=float), NEVER_WEEKS)


def _sooner(pairs: np.ndarray) -> str:
    own, best = pairs.T
    sooner, later = int((own < best).sum()), int((own > best).sum())
    level = len(pairs) - sooner - later
    return (
        f"sooner in {sooner}, as soon in {level}, later in {later} of {len(pairs)} worlds; "
        f"mean weeks {own.mean():.1f} against {best.mean():.1f} (never counts {NEVER_WEEKS}), "
        f"medians {np.median(own):.1f} against {np.median(best):.1f}"
    )


def _late_labels(results: Row) -> list[str]:
    name = "(c) soft labels beat matured only and fake negatives in log-loss under drift"
    words, is_met = [], True
    for rival in (MATURED_ONLY, FAKED):
        pairs = _paired(results, DRIFTED, SOFT_LABELS, rival)
        if len({ours["seed"] for ours, _ in pairs}) < 2:
            return [name, "not run", ""]
        gains = {
            (ours["kind"], ours["seed"]): 1 - ours["after"]["log_loss"] / theirs["after"]["log_loss"]
            for ours, theirs in pairs
        }
        t, least = _t_over_seeds(gains)
        is_met &= t > least
        by_kind = ", ".join(
            f"{kind} {np.mean([gain for (k, _), gain in gains.items() if k == kind]):+.1%}"
            for kind in dict.fromkeys(kind for kind, _ in gains)
        )
        words.append(
            f"{np.mean(list(gains.values())):+.1%} against {rival.rpartition(', ')[2]} "
            f"(t = {t:.1f} over seeds, {least:.1f} is significant, {len(gains)} worlds: {by_kind})"
        )
    return [name, _met(is_met), "; ".join(words)]


def _t_over_seeds(gains: Mapping[tuple[str, int], float]) -> tuple[float, float]:
    """Return Student's t of the seeds' means, and the least that is significant (5 %, two-sided).

    Worlds of one seed are one CRM and no four observations.
    """
    by_seed: dict[int, list[float]] = {}
    for (_, seed), gain in gains.items():
        by_seed.setdefault(seed, []).append(gain)
    means = np.array([np.mean(values) for values in by_seed.values()])
    t = means.mean() / (means.std(ddof=1) / math.sqrt(len(means)))
    return float(t), float(stats.t.ppf(1 - LEVEL / 2, len(means) - 1))


def _false_pages(results: Row) -> list[list[str]]:
    found = results["monitors"]
    names = (
        "(d) at most .5 false pages a quiet year",
        "(d) a 40 % fall found in a median of 8 weeks at 17 early wins a week",
    )
    if found is None:
        return [
            [name, "not run here", "measured by benchmarks/monitors.py: [monitors](monitors.md)"]
            for name in names
        ]
    pages, weeks = found["pages"] / found["years"], found["median_weeks"]
    return [
        [names[0], _met(pages <= MOST_PAGES), f"{pages:.2f} over {found['years']} years"],
        [names[1], _met(0 < weeks <= MOST_WEEKS), f"{weeks:.0f} weeks"],
    ]


def _poison(results: Row) -> list[str]:
    name = "(e) a poisoned night is never promoted"
    if not results["poison"]:
        return [name, "not run", ""]
    totals: dict[str, list[int]] = {}
    for found in results["poison"]:
        for poison, (let_through, tries) in found["promoted"].items():
            total = totals.setdefault(poison, [0, 0])
            total[0], total[1] = total[0] + let_through, total[1] + tries
    words = ", ".join(f"{poison} {bad} of {n}" for poison, (bad, n) in totals.items())
    return [name, _met(not any(bad for bad, _ in totals.values())), f"promoted: {words}"]


def _no_harm(results: Row) -> list[str]:
    name = "(f) covariate drift without harm never asks for retraining"
    runs = _runs(results, ("covariate",), GATED)
    if not runs:
        return [name, "not run", ""]
    searches = sum(run["searches"] for run in runs)
    years = sum(run["watched_years"] for run in runs)
    return [name, _met(searches == 0), f"{searches} searches in {years:.1f} years of {len(runs)} worlds"]


def _policies(results: Row, kind: str) -> str:
    header = ["policy", "worlds", "PR-AUC / ceiling before", "recovered", "precision at capacity after",
              "revenue at k", "regret to oracle", "log-loss after", "slope", "promotions (harmful)",
              "false alarms a year", "weeks to detect", "weeks to recover", "CPU s"]  # fmt: skip
    there = dict.fromkeys(run["policy"] for run in results["runs"] if run["kind"] == kind)
    order = [GATED, *(schedule.name for schedule in schedules(kind, is_whole=True))]
    order += [f"{peer} nightly, {TUNED}" for peer in PEERS]
    names = sorted(there, key=lambda name: order.index(name) if name in order else len(order))
    return markdown(header, [_policy(results, kind, name) for name in names])


def _policy(results: Row, kind: str, name: str) -> list[str]:
    runs = _runs(results, (kind,), name)
    detected = [run["weeks_to_detect"] for run in runs if run["weeks_to_detect"] is not None]
    years, false = (sum(run[key] for run in runs) for key in ("watched_years", "false_alarms"))
    is_watched = name == GATED
    return [
        name,
        str(len(runs)),
        f"{_mean(runs, 'before', 'share_of_ceiling'):.3f}",
        f"{_mean(runs, 'recovered', 'share_of_ceiling'):.3f}",
        f"{_mean(runs, 'after', 'precision'):.1%}",
        f"{_mean(runs, 'after', 'revenue'):,.0f}",
        _regret(_paired(results, (kind,), name, ORACLE_POLICY)),
        f"{_mean(runs, 'after', 'log_loss'):.4f}",
        f"{np.nanmean([run['slope'] for run in runs]):.2f}",
        f"{np.mean([run['promotions'] for run in runs]):.1f}{_harmful(runs)}",
        f"{false / years:.2f}" if is_watched else "",
        f"{np.median(detected):.0f} ({len(detected)} of {len(runs)})" if detected else "",
        _weeks(float(np.median([run["weeks_to_recover"] for run in runs]))),
        f"{np.mean([run['cpu_seconds'] for run in runs]):.1f}",
    ]


def _harmful(runs: Sequence[Row]) -> str:
    counts = [run["harmful_promotions"] for run in runs if run["harmful_promotions"] is not None]
    return f" ({np.mean(counts):.1f})" if counts else ""


def _regret(pairs: Sequence[tuple[Row, Row]]) -> str:
    """Precision at capacity lost to the oracle, in the worlds that it ran on too."""
    lost = [oracle["after"]["precision"] - run["after"]["precision"] for run, oracle in pairs]
    return f"{np.mean(lost):+.1%}" if lost else ""


def _mean(runs: Sequence[Row], period: str, name: str) -> float:
    return float(np.mean([run[period][name] for run in runs])) if runs else math.nan


def _streams(streams: Sequence[Row]) -> str:
    header = ["set", "policy", "PR-AUC", "share of the oracle", "log-loss", "accuracy", "promotions", "CPU s"]
    rows = [
        [one["name"], one["policy"], _number(one, "average_precision", ".3f"),
         _number(one, "share_of_oracle", ".3f"), _number(one, "log_loss", ".4f"),
         _number(one, "accuracy", ".3f"), _number(one, "promotions", "d"), _number(one, "cpu_seconds", ".1f")]
        for one in streams
    ]  # fmt: skip
    return markdown(header, rows)


def _number(row: Row, name: str, form: str) -> str:
    return format(row[name], form) if name in row else ""


def _met(is_met: bool) -> str:
    return "met" if is_met else "**missed**"


def _weeks(value: float) -> str:
    return f"{value:.0f}" if math.isfinite(value) else "never"
