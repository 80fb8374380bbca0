"""Policies: which model scores on which night."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date

import numpy as np
from drift_fits import FAKE, ORACLE, PKBOOST, SOFT, WINDOWS, Fits, Learner
from drift_measures import Week, measure
from drift_worlds import DRIFTED, HARMED, QUIET, World

NIGHTLY, MONTHLY = 2, 4
"""Nights from one fit to the next; a night stands for a week, and nightly retraining for every second one."""
HARM_WEEKS = 8
HARM = 0.005


@dataclass(frozen=True)
class Schedule:
    """Fit a learner every so many nights and use it at once; `every` None: only on the first."""

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
    promotions, harmful : models that came into use after the first, and those of them whose expected log-loss
        over the next eight weeks is more than .5 % above that of the model they replaced.
    alarms, searches : nights.
    cpu_seconds : of all fits the policy asked for, shared ones included.
    """

    policy: str
    world: World
    scores: dict[date, np.ndarray] = field(default_factory=dict)
    weeks: list[Week] = field(default_factory=list)
    promotions: list[date] = field(default_factory=list)
    harmful: list[date] = field(default_factory=list)
    alarms: list[date] = field(default_factory=list)
    searches: list[date] = field(default_factory=list)
    cpu_seconds: float = 0.0

    def add(self, night: date, p: np.ndarray) -> None:
        """Put a night's scores on record."""
        self.scores[night] = p
        self.weeks.append(measure(self.world, night, p))


def schedules(kind: str, is_quick: bool) -> list[Schedule]:
    """Return the policies of a world beside the gated loop: all of them, or those that a claim compares."""
    expanding = WINDOWS["expanding"]
    static = [Schedule("PKBoost static", SOFT, None)]
    static += [Schedule(f"{n} static", Learner(n.lower(), expanding), None) for n in ("LightGBM", "XGBoost")]
    nightly = [Schedule("LightGBM nightly, expanding", Learner("lightgbm", expanding), NIGHTLY)]
    treatments = {MATURED_ONLY: PKBOOST, SOFT_LABELS: SOFT, FAKE_NEGATIVES: FAKE}
    late = [Schedule(name, learner, MONTHLY) for name, learner in treatments.items()]
    if not is_quick:
        return static + nightly + late + _peers()
    claimed = ((HARMED, static), (QUIET, nightly), (DRIFTED, late))
    return [schedule for kinds, compared in claimed if kind in kinds for schedule in compared]


def _peers() -> list[Schedule]:
    expanding, sliding = WINDOWS["expanding"], WINDOWS["sliding 180 d"]
    return [
        Schedule("PKBoost nightly, ungated", SOFT, NIGHTLY, is_judged=True),
        Schedule("oracle without delay", ORACLE, MONTHLY),
        *(Schedule(f"LightGBM nightly, {name}", Learner("lightgbm", recipe), NIGHTLY)
          for name, recipe in WINDOWS.items() if recipe != expanding),
        Schedule("LightGBM monthly, expanding", Learner("lightgbm", expanding), MONTHLY),
        Schedule("XGBoost monthly, expanding", Learner("xgboost", expanding), MONTHLY),
        Schedule("XGBoost monthly, sliding 180 d", Learner("xgboost", sliding), MONTHLY),
    ]  # fmt: skip


TUNED = "LightGBM nightly, window tuned on burn-in"
MATURED_ONLY = "PKBoost monthly, matured only"
SOFT_LABELS = "PKBoost monthly, soft labels"
FAKE_NEGATIVES = "PKBoost monthly, fake negatives"


def run_schedule(fits: Fits, schedule: Schedule) -> Run:
    """Live through all nights with a schedule."""
    run, asked, fitted_on = Run(schedule.name, fits.world), set[date](), fits.world.nights[0]
    for k, night in enumerate(fits.world.nights):
        if schedule.every is not None and k % schedule.every == 0 and k > 0:
            if schedule.is_judged and is_harmful(
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


def tuned_on_burn_in(runs: Sequence[Run]) -> Run | None:
    """Return nightly LightGBM with the window that had the least log-loss before the world changed.

    None where only one window was run.
    """
    nightly = [run for run in runs if run.policy.startswith("LightGBM nightly")]
    if len(nightly) < 2:
        return None

    def burn_in_loss(run: Run) -> float:
        changed = run.world.drift_date
        return float(np.mean([week.log_loss for week in run.weeks if week.night < changed]))

    return replace(min(nightly, key=burn_in_loss), policy=TUNED)
