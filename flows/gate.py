"""The gate: what a challenger has to show before it may replace the champion.

The recipe is judged on mature labels (`flows.backtest`, `flows.open_cohorts`), the artefact on today's open
leads, the night's data by what the champion was made from. Only broken data or labels that speak against it
refuse a model: one that is merely different may be following a world that has changed. A check that fails
keeps the champion. Every check and every number it looked at goes into the decision record.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from typing import Any

import numpy as np

from flows.artefact_checks import Shift, problems, shift
from flows.evaluation import Evaluation
from flows.leakage import LeakageReport
from flows.monitors.compare import Comparison
from flows.monitors.compare import judge as judge_comparison
from flows.newest_labels import NewestLabels

CALIBRATION_RATIO = (0.4, 2.5)
ROLL_BACK_REST_DAYS = 14


class NoUsableModelError(RuntimeError):
    """There is no champion and the new model cannot be used; nothing is published."""


@dataclass(frozen=True)
class Evidence:
    """All that a decision looks at.

    Attributes
    ----------
    as_of : the night.
    evaluation, leakage : of the challenger's recipe on the newest mature cohort.
    open_probabilities, champion_probabilities : float64 (n,), of today's open leads; None where there is no
        champion that can score them.
    segments : name -> bool (n,), the open leads in it.
    data_problems : how tonight's data contradict what the champion was made from (`flows.data_facts`).
    integrity : alarms of the data integrity monitor, in words; any of them keeps the champion.
    comparison : champion against challenger on rows neither was trained on; None where history is too short.
    newest : both on the wins known tonight, learnt or not; None where it cannot be told.
    is_new_recipe : whether the challenger was made in another way than the champion.
    last_recipe_change, last_roll_back : dates; None for never.
    """

    as_of: date
    evaluation: Evaluation
    leakage: LeakageReport
    open_probabilities: np.ndarray
    champion_probabilities: np.ndarray | None = None
    segments: Mapping[str, np.ndarray] = field(default_factory=dict)
    data_problems: Sequence[str] = ()
    integrity: Sequence[str] = ()
    comparison: Comparison | None = None
    newest: NewestLabels | None = None
    is_new_recipe: bool = False
    last_recipe_change: date | None = None
    last_roll_back: date | None = None

    @property
    def shift(self) -> Shift | None:
        """How far the challenger moves today's open leads; None where that cannot be told."""
        champion, challenger = self.champion_probabilities, self.open_probabilities
        if champion is None or not np.isfinite(challenger).all():
            return None
        return shift(champion, challenger, self.segments)

    def as_dict(self) -> dict[str, Any]:
        """Return the inputs as JSON-able values, probabilities as their summary."""
        moved, p = self.shift, self.open_probabilities
        is_sound = len(p) > 0 and bool(np.isfinite(p).all())
        return {
            "as_of": self.as_of.isoformat(),
            "evaluation": self.evaluation.as_dict(),
            "leakage_alarm": self.leakage.is_alarm,
            "open_leads": len(p),
            "open_quantiles": np.quantile(p, (0, 0.25, 0.5, 0.75, 1)).tolist() if is_sound else None,
            "shift": None if moved is None else moved.to_dict(),
            "data_problems": list(self.data_problems),
            "integrity": list(self.integrity),
            "comparison": None if self.comparison is None else asdict(self.comparison),
            "newest_labels": None if self.newest is None else self.newest.to_dict(),
            "is_new_recipe": self.is_new_recipe,
            "last_recipe_change": _iso(self.last_recipe_change),
            "last_roll_back": _iso(self.last_roll_back),
        }


@dataclass(frozen=True)
class GateDecision:
    """Whether a model may be promoted, every check with its outcome, and what it looked at; JSON-able.

    Attributes
    ----------
    reasons : the checks that failed, in words.
    checks : check -> whether it holds.
    """

    is_promoted: bool
    reasons: tuple[str, ...]
    checks: Mapping[str, bool]
    inputs: Mapping[str, Any] = field(default_factory=dict)


def decide(evidence: Evidence, *, has_champion: bool) -> GateDecision:
    """Decide on promotion.

    A model that fails a check never replaces a champion. Without a champion, only a model whose probabilities
    are unusable is refused: doubtful scores with a warning serve sales better than none.

    Parameters
    ----------
    has_champion : whether there is one to keep.
    """
    checks, words = _of_the_model(evidence), list[str]()
    if has_champion:
        for name, said in _against_the_champion(evidence).items():
            checks[name] = not said
            words += said
        checks |= _rules_of_promotion(evidence)
    spelt_out = {name for name in checks if name in _SPELT_OUT}
    failed = [name for name, holds in checks.items() if not holds and name not in spelt_out]
    is_usable = checks["probabilities are finite"]
    is_promoted = is_usable and (all(checks.values()) or not has_champion)
    return GateDecision(is_promoted, (*failed, *words), checks, evidence.as_dict())


_SPELT_OUT = ("data integrity", "data like the champion's", "scores like the champion's")


def _of_the_model(evidence: Evidence) -> dict[str, bool]:
    """Checks of the model alone.

    The evaluation is of a model that the recipe made weeks ago. After a change of the world that one ranks
    and calibrates badly, which is why it is replaced: where tonight's model fits the newest labels better
    than the champion, it is no reason to refuse.
    """
    p, evaluation = evidence.open_probabilities, evidence.evaluation
    ratio, roc_auc_high = evaluation.calibration_ratio, evaluation.roc_auc_high
    low, high = CALIBRATION_RATIO
    follows = evidence.newest is not None and evidence.newest.fits_better
    return {
        "probabilities are finite": bool(np.isfinite(p).all()),
        "probabilities differ between leads": len(p) < 2 or bool(np.ptp(p) > 0),
        "ranking is not worse than chance": follows or roc_auc_high is None or roc_auc_high > 0.5,
        "calibrated in the large": follows or ratio is None or low <= ratio <= high,
        "no leakage alarm": not evidence.leakage.is_alarm,
    }


def _against_the_champion(evidence: Evidence) -> dict[str, list[str]]:
    """Checks that say in words what is wrong."""
    comparison, moved = evidence.comparison, evidence.shift
    is_proven = comparison is not None and comparison.log_loss_gain_lower > 0
    newest = evidence.newest
    followed = [] if newest is None or moved is None else [name for name in moved.far if newest.follows(name)]
    found = (
        list(evidence.integrity),
        list(evidence.data_problems),
        [] if moved is None else problems(moved, is_proven=is_proven, followed=followed),
    )
    return dict(zip(_SPELT_OUT, found, strict=True))


def _rules_of_promotion(evidence: Evidence) -> dict[str, bool]:
    rested = {"no roll-back within 14 days": has_rested(evidence.last_roll_back, evidence.as_of)}
    if evidence.comparison is None:
        is_same = not evidence.is_new_recipe
        return rested | {"a new recipe is compared on at least eight weeks": is_same}
    verdict = judge_comparison(
        evidence.comparison,
        is_new_recipe=evidence.is_new_recipe,
        as_of=evidence.as_of,
        last_recipe_change=evidence.last_recipe_change,
    )
    return rested | dict(verdict.checks)


def has_rested(last_roll_back: date | None, as_of: date) -> bool:
    """Whether the last roll-back is long enough ago for a model to be promoted without being asked to."""
    return last_roll_back is None or last_roll_back <= as_of - timedelta(days=ROLL_BACK_REST_DAYS)


def _iso(day: date | None) -> str | None:
    return None if day is None else day.isoformat()
