"""`leadscore uplift` checked: its intervals on simulated truth, and a randomised mailing (Hillstrom).

    python benchmarks/uplift.py --write

Simulated: leads with a known chance to convert when called and when not; arms and lists as the worklist makes
them; each experiment redrawn `--draws` times. Hillstrom: 64,000 customers, a third each got no mail, a men's
mail, a women's mail. Two halves: models fitted on one score the other, so that nobody is scored by a model
that has seen him; `score` is fitted on the visits of all customers, as a lead score is, `uplift model` is the
difference of two models, one fitted on those who got mail and one on the others (T-learner).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from datasets import data_dir, hillstrom_visit
from models import pkboost
from tables import machine, markdown, write

from flows.fitting import BOOSTER
from flows.uplift import Effect, Z, contributions, effect

DOCUMENT = Path(__file__).parents[1] / "docs" / "uplift.md"
OUTCOMES = ("visit", "conversion", "spend")
SHARES = (0.1, 0.2, 0.3, 0.5, 1.0)
CALLED_SHARE = 0.2


def coverage(n_draws: int) -> str:
    """How often intervals hold the truth, by size and effect of a call."""
    rows = []
    for n in (4_000, 10_000, 30_000):
        for times in (1.0, 1.5, 3.0):
            rows += _experiments(n, times, n_draws)
    header = ["leads, a call multiplies by", "contrast", "true effect", "mean estimate", "coverage, adjusted",
              "coverage, plain", "half width, adjusted", "half width, plain"]  # fmt: skip
    return markdown(header, rows)


def _experiments(n: int, times: float, n_draws: int) -> list[list[str]]:
    rng = np.random.default_rng(n + int(10 * times))
    score = rng.beta(1.2, 16, n)
    not_called = np.clip(score * rng.lognormal(0, 0.3, n), 0, 0.6)
    called = np.minimum(times * not_called, 0.95)
    is_best = score > np.quantile(score, 1 - CALLED_SHARE)
    lift = called - not_called
    means = {"exploit": (is_best * lift).mean(), "explore": CALLED_SHARE * lift.mean(), "holdout": 0.0}
    contrasts = {"by value, hold-out": ("exploit", "holdout"), "by value, by lot": ("exploit", "explore")}
    found: dict[str, list[tuple[Effect, Effect]]] = {name: [] for name in contrasts}
    for _ in range(n_draws):
        code = rng.choice(3, n, p=(0.9, 0.05, 0.05))
        arm, propensity = np.array(["exploit", "explore", "holdout"])[code], np.array([0.9, 0.05, 0.05])[code]
        is_called = np.select([code == 0, code == 1], [is_best, rng.random(n) < CALLED_SHARE], False)
        y = (rng.random(n) < np.where(is_called, called, not_called)).astype(np.float64)
        for name, (treated, control) in contrasts.items():
            arms = (arm == treated, arm == control, propensity)
            found[name].append((effect(y, *arms, score), effect(y, *arms)))
    return [
        _coverage_row(f"{n:,}, {times:g}", name, means[treated] - means[control], found[name])
        for name, (treated, control) in contrasts.items()
    ]


def _coverage_row(what: str, name: str, truth: float, found: list[tuple[Effect, Effect]]) -> list[str]:
    held = np.array([[one.low <= truth <= one.high for one in pair] for pair in found]).mean(axis=0)
    width = Z * np.array([[one.error for one in pair] for pair in found]).mean(axis=0)
    mean = np.mean([pair[0].value for pair in found])
    return [
        what,
        name,
        f"{truth:.2%}",
        f"{mean:.2%}",
        *(f"{h:.1%}" for h in held),
        *(f"{w:.2%}" for w in width),
    ]


class Mailing:
    """The randomised mailing: outcomes, arms, and rankings by models of the other half."""

    def __init__(self) -> None:
        data = hillstrom_visit()
        frame = pl.read_csv(data_dir() / "hillstrom" / "hillstrom.csv", infer_schema_length=None)
        self.segment = frame["segment"].to_numpy()
        self.y = {name: frame[name].cast(float).to_numpy() for name in OUTCOMES}
        keep = [i for i, name in enumerate(data.names) if name != "segment"]
        X, categorical = data.X[:, keep], tuple(keep.index(i) for i in data.categorical if i in keep)
        half = np.random.default_rng(0).random(len(X)) < 0.5
        self.rankings = {name: np.empty(len(X)) for name in ("score", "uplift model")}
        is_mailed, visit = self.segment != "No E-Mail", self.y["visit"]
        self.score = np.empty(len(X))
        for fold in (half, ~half):
            fits = [fold, fold & is_mailed, fold & ~is_mailed]
            all_, mailed, not_mailed = (
                pkboost(**BOOSTER)(X[rows], visit[rows], categorical, 0, 1)(X[~fold]) for rows in fits
            )
            self.score[~fold] = all_
            self.rankings["score"][~fold] = _ranks(all_)
            self.rankings["uplift model"][~fold] = _ranks(mailed - not_mailed)

    def arms(self, mail: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Who got this mail, who got none, and the chance of that."""
        is_control = self.segment == "No E-Mail"
        is_treated = ~is_control if mail == "any" else self.segment == mail
        chance = np.where(is_control, 1 / 3, 2 / 3 if mail == "any" else 1 / 3)
        return is_treated, is_control, chance

    def difference(self, outcome: str) -> np.ndarray:
        """What mail brings, per customer: estimates whose mean over any group is that of the group."""
        is_treated, is_control, chance = self.arms("any")
        with_ = contributions(self.y[outcome], is_treated, chance, self.score)
        return with_ - contributions(self.y[outcome], is_control, chance, self.score)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Position from the top, in (0, 1); ties in the order of the file, which is random."""
    order = np.argsort(-values, kind="stable")
    ranks = np.empty(len(values))
    ranks[order] = (np.arange(len(values)) + 0.5) / len(values)
    return ranks


def effects_of(mailing: Mailing) -> str:
    """Effects of the mails on everybody."""
    rows = []
    for mail in ("any", "Mens E-Mail", "Womens E-Mail"):
        for outcome in OUTCOMES:
            arms = mailing.arms(mail)
            adjusted = effect(mailing.y[outcome], *arms, mailing.score)
            plain = effect(mailing.y[outcome], *arms)
            show = _money if outcome == "spend" else _points
            rows.append(
                [f"{mail}, {outcome}", show(adjusted.treated), show(adjusted.control), show(adjusted.value),
                 f"{show(adjusted.low)} to {show(adjusted.high)}", f"{adjusted.times:.2f}x",
                 f"{1 - (adjusted.error / plain.error) ** 2:.1%}", adjusted.verdict]
            )  # fmt: skip
    header = ["mail, outcome", "with", "without", "effect", "95 % interval", "times",
              "leads saved by adjusting", "verdict"]  # fmt: skip
    return markdown(header, rows)


def groups_of(mailing: Mailing) -> str:
    """Effects among the best fifth of a ranking and among the rest."""
    rows = []
    for name, ranks in mailing.rankings.items():
        for outcome in OUTCOMES:
            psi, is_best = mailing.difference(outcome), ranks < 0.2
            show = _money if outcome == "spend" else _points
            weight = is_best / is_best.mean() - ~is_best / (~is_best).mean()
            cells = [_with_interval(part, show) for part in (psi[is_best], psi[~is_best], psi * weight)]
            rows.append([f"{name}, {outcome}", *cells, _verdict(psi * weight)])
    return markdown(["ranking, outcome", "best fifth", "the rest", "difference", "verdict"], rows)


def gains_of(mailing: Mailing) -> str:
    """Visits brought per 1,000 customers when only the best of a ranking get mail, and Qini's area."""
    psi, rows = mailing.difference("visit"), []
    for share in SHARES:
        cells = [_with_interval(psi * (ranks <= share), _per_thousand) for ranks in mailing.rankings.values()]
        rows.append([f"{share:.0%}", _per_thousand(share * psi.mean()), *cells])
    areas = [psi * (0.5 - ranks) for ranks in mailing.rankings.values()]
    rows.append(["area between curve and by lot", "0", *(_with_interval(a, _per_thousand) for a in areas)])
    difference = areas[0] - areas[1]
    rows.append(
        ["score less uplift model", "", _with_interval(difference, _per_thousand), _verdict(difference)]
    )
    return markdown(["mailed, best of", "by lot", *mailing.rankings], rows)


def _with_interval(psi: np.ndarray, show) -> str:  # type: ignore[no-untyped-def]
    half = Z * psi.std(ddof=1) / np.sqrt(len(psi))
    return f"{show(psi.mean())} ({show(psi.mean() - half)} to {show(psi.mean() + half)})"


def _verdict(psi: np.ndarray) -> str:
    half = Z * psi.std(ddof=1) / np.sqrt(len(psi))
    return "tie" if abs(psi.mean()) <= half else "more" if psi.mean() > 0 else "fewer"


def _points(value: float) -> str:
    return f"{100 * value:.2f} %"


def _money(value: float) -> str:
    return f"{value:.2f} $"


def _per_thousand(value: float) -> str:
    return f"{1000 * value:.1f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=400, help="experiments per row of the coverage table")
    parser.add_argument("--write", action="store_true", help=f"write the tables into {DOCUMENT.name}")
    options = parser.parse_args(arguments)
    parts = {"coverage": coverage(options.draws)}
    try:
        mailing = Mailing()
        parts |= {"mailing": effects_of(mailing), "mailing-groups": groups_of(mailing)}
        parts |= {"mailing-gains": gains_of(mailing)}
    except FileNotFoundError as error:
        print(f"skipped the mailing: {error.filename} is not there (set LEADSCORE_DATA_DIR)")
    for name, table in parts.items():
        text = f"{table}\n\nMeasured {machine()}."
        print(f"\n{name}\n{text}")
        if options.write:
            write(DOCUMENT, name, text)


if __name__ == "__main__":
    main()
