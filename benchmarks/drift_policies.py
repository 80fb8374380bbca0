"""Policies: which model scores on which night."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np
from drift_fits import FAKE_NEGATIVES, ORACLE, PKBOOST, SOFT, WINDOWS, Fits, Learner, fake_negatives
from drift_measures import Week, measure
from drift_worlds import DRIFTED, HARMED, QUIET, World

NIGHTLY, WEEKLY, MONTHLY = 1, 2, 4
"""Nights from one fit to the next. Leads are scored on Mondays: nightly refits score them by a model of that
day; weekly and monthly ones by a model that is half a period old on average, as every second night's is (3.5
days), and every fourth's nearly (10.5 days, not 15)."""
PERIODS = {"nightly": NIGHTLY, "weekly": WEEKLY, "monthly": MONTHLY}
LIGHTGBM, SMALL = "LightGBM", "LightGBM small trees"
PEERS = {LIGHTGBM: "lightgbm", SMALL: "lightgbm-small", "XGBoost": "xgboost"}
HARM_WEEKS = 8
HARM = 0.005


@dataclass(frozen=True)
class Schedule:
    """Fit a learner every so many nights and use it at once.

    Attributes
    ----------
    every : None fits on the first night only.
    is_judged : whether harmful promotions are counted.
    """

    name: str
    learner: Learner
    every: int | None
    is_judged: bool = False


@dataclass
class Run:
    """One policy on one world.

    Attributes
    ----------
    scores : night -> probabilities of the leads open on it.
    weeks : the same, measured.
    promotions : models that came into use after the first.
    harmful : those of them whose expected log-loss over the next eight weeks is more than .5 % above that of
        the model they replaced; None: not looked at.
    alarms, searches : nights.
    cpu_seconds : of all fits the policy asked for, shared ones included.
    """

    policy: str
    world: World
    scores: dict[date, np.ndarray] = field(default_factory=dict)
    weeks: list[Week] = field(default_factory=list)
    promotions: list[date] = field(default_factory=list)
    harmful: list[date] | None = None
    alarms: list[date] = field(default_factory=list)
    searches: list[date] = field(default_factory=list)
    cpu_seconds: float = 0.0

    def add(self, night: date, p: np.ndarray) -> None:
        """Put a night's scores on record."""
        self.scores[night] = p
        self.weeks.append(measure(self.world, night, p))


def schedules(kind: str, *, is_whole: bool) -> list[Schedule]:
    """Return the policies of a world beside the gated loop: all of them, or those that a claim compares."""
    static = [Schedule("PKBoost static", SOFT, None)]
    static += [Schedule(f"{name} static", Learner(engine), None) for name, engine in PEERS.items()]
    treatments = {MATURED_ONLY: PKBOOST, SOFT_LABELS: SOFT, FAKED: fake_negatives("pkboost")}
    late = [Schedule(name, learner, MONTHLY) for name, learner in treatments.items()]
    refitted = [
        Schedule("PKBoost nightly, ungated", SOFT, NIGHTLY, is_judged=True),
        Schedule(ORACLE_POLICY, ORACLE, WEEKLY),
    ]
    nightly = [schedule for name in (LIGHTGBM, SMALL) for schedule in _windows(name, "nightly")]
    if is_whole:
        return [*static, *refitted, *late, *nightly, *_other_peers(nightly)]
    harmed = [*static, *refitted, *nightly]
    quiet = [schedule for schedule in nightly if schedule.name in (REFERENCE, SMALL_REFERENCE)]
    claimed = ((HARMED, harmed), (QUIET, quiet), (DRIFTED, late))
    return [schedule for kinds, compared in claimed if kind in kinds for schedule in compared]


def _windows(peer: str, period: str) -> Iterator[Schedule]:
    """Yield a peer's refits on mature labels, one policy for each window."""
    for window, recipe in WINDOWS.items():
        policy = f"{peer} {period}, {window}"
        yield Schedule(policy, Learner(PEERS[peer], recipe), PERIODS[period], is_judged=policy == REFERENCE)


def _other_peers(there: Sequence[Schedule]) -> Iterator[Schedule]:
    """Yield all windows in all periods that are not there yet, and labels that call open leads lost."""
    for name, engine in PEERS.items():
        for period in PERIODS:
            yield from (schedule for schedule in _windows(name, period) if schedule not in there)
        yield Schedule(f"{name} monthly, {FAKE_NEGATIVES}", fake_negatives(engine), MONTHLY)


GATED, REFERENCE = "PKBoost gated loop", f"{LIGHTGBM} nightly, expanding"
SMALL_REFERENCE = f"{SMALL} nightly, expanding"
ORACLE_POLICY = "oracle without delay"
RIVER = "river's adaptive random forest, delayed labels"
MATURED_ONLY = "PKBoost monthly, matured only"
SOFT_LABELS = "PKBoost monthly, soft labels"
FAKED = f"PKBoost monthly, {FAKE_NEGATIVES}"


def run_schedule(fits: Fits, schedule: Schedule) -> Run:
    """Live through all nights with a schedule."""
    run, asked, fitted_on = Run(schedule.name, fits.world), set[date](), fits.world.nights[0]
    run.harmful = [] if schedule.is_judged else None
    for k, night in enumerate(fits.world.nights):
        if schedule.every is not None and k % schedule.every == 0 and k > 0:
            if run.harmful is not None and is_harmful(
                fits, (schedule.learner, fitted_on), (schedule.learner, night), k
            ):
                run.harmful.append(night)
            run.promotions.append(night)
            fitted_on = night
        asked.add(fitted_on)
        run.add(night, fits.scores(schedule.learner, fitted_on, night))
    run.cpu_seconds = sum(fits.cpu_seconds[schedule.learner, night] for night in asked)
    return run


def is_harmful(fits: Fits, old: tuple[Learner, date], new: tuple[Learner, date], k: int) -> bool:
    """Whether a promotion on the k-th night makes the next eight weeks' expected log-loss worse by .5 %."""
    nights = fits.world.nights[k : k + HARM_WEEKS]
    losses = [
        [measure(fits.world, night, fits.scores(*used, night)).log_loss for night in nights]
        for used in (old, new)
    ]
    return float(np.mean(losses[1])) > (1 + HARM) * float(np.mean(losses[0]))
