"""Champion against challenger: the paired rules of promotion, and the evidence that takes a promotion back.

Both score the same rows, on which neither was trained, so their difference has little noise; rows of one week
go together, because they share what happened in it. The bootstrap draws whole weeks (Kuensch 1989).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from flows.monitors.e_process import Wealth, bet
from flows.monitors.reading import Reading, day_words, log10, percent

MIN_WEEKS = 8
CONFIDENCE = 0.95
WORST_LOG_LOSS_GAIN = -0.005
ENOUGH_EVIDENCE = 20.0
RECIPE_REST_DAYS = 14
SCALE_WEEKS = 4


@dataclass(frozen=True)
class Comparison:
    """Gains of the challenger over the champion; JSON-able.

    Attributes
    ----------
    log_loss_gain, log_loss_gain_lower : relative (0.01 is 1 % less loss) and its lower 95 % bound, one-sided.
    precision_gain, precision_error : difference of mean precision at capacity and its standard error; None if
        not measured.
    """

    weeks: int
    log_loss_gain: float
    log_loss_gain_lower: float
    precision_gain: float | None = None
    precision_error: float | None = None


@dataclass(frozen=True)
class Verdict:
    """Whether a challenger may replace the champion, and each rule with whether it holds; JSON-able."""

    is_promoted: bool
    checks: Mapping[str, bool]
    comparison: Comparison
    reasons: tuple[str, ...]


def compare(
    champion_loss: ArrayLike,
    challenger_loss: ArrayLike,
    rows: ArrayLike,
    *,
    champion_precision: ArrayLike | None = None,
    challenger_precision: ArrayLike | None = None,
    seed: int = 0,
    n_resamples: int = 2000,
    block_weeks: int = 1,
) -> Comparison:
    """Compare two models on the same cohort-weeks by a paired bootstrap over blocks of weeks.

    Parameters
    ----------
    champion_loss, challenger_loss : mean log-loss of each week, in order of time (w,).
    rows : leads of each week (w,).
    champion_precision, challenger_precision : precision at capacity of each week (w,).
    block_weeks : neighbouring weeks drawn together, circularly; more than 1 where weeks share leads.

    Raises
    ------
    ValueError
        Lengths differ, there are fewer than `MIN_WEEKS` weeks, or a value is not finite.
    """
    old, new, n = (np.asarray(v, dtype=np.float64) for v in (champion_loss, challenger_loss, rows))
    if not len(old) == len(new) == len(n):
        raise ValueError(f"lengths differ: {len(old)} champion, {len(new)} challenger, {len(n)} rows")
    if len(old) < MIN_WEEKS:
        raise ValueError(f"{len(old)} weeks are too few to compare models; {MIN_WEEKS} are needed")
    if not (np.isfinite(old).all() and np.isfinite(new).all() and (n > 0).all() and (old > 0).any()):
        raise ValueError("weekly losses must be finite and not all 0, and every week needs rows")
    drawn = _draw_weeks(len(old), block_weeks, n_resamples, seed)
    saved, spent = (old - new) * n, old * n
    totals = spent[drawn].sum(axis=1)
    gains = np.divide(saved[drawn].sum(axis=1), totals, out=np.zeros(n_resamples), where=totals > 0)
    result = Comparison(len(old), float(saved.sum() / spent.sum()), float(np.quantile(gains, 1 - CONFIDENCE)))
    if champion_precision is None or challenger_precision is None:
        return result
    gain = np.asarray(challenger_precision, dtype=np.float64) - np.asarray(
        champion_precision, dtype=np.float64
    )
    if len(gain) != len(old) or not np.isfinite(gain).all():
        raise ValueError(f"precision needs {len(old)} finite weekly values, got {len(gain)}")
    error = float(gain[drawn].mean(axis=1).std())
    return Comparison(
        result.weeks, result.log_loss_gain, result.log_loss_gain_lower, float(gain.mean()), error
    )


def judge(
    comparison: Comparison,
    *,
    is_new_recipe: bool,
    as_of: date,
    last_recipe_change: date | None = None,
) -> Verdict:
    """Apply the rules of promotion.

    The same recipe, fitted anew, must not be worse: lower bound of the log-loss gain above -0.5 % and
    precision within one standard error. A new recipe must be better: lower bound above 0, and the last recipe
    change at least 14 days ago.
    """
    gain, error = comparison.precision_gain, comparison.precision_error
    if is_new_recipe:
        rest = as_of - timedelta(days=RECIPE_REST_DAYS)
        checks = {
            "better: lower bound of the log-loss gain above 0": comparison.log_loss_gain_lower > 0,
            "no recipe change within 14 days": last_recipe_change is None or last_recipe_change <= rest,
        }
    else:
        checks = {
            "not worse: lower bound of the log-loss gain above -0.5 %": (
                comparison.log_loss_gain_lower > WORST_LOG_LOSS_GAIN
            ),
        }
    checks["precision at capacity within one standard error"] = (
        gain is None or error is None or gain >= -error
    )
    failed = tuple(name for name, holds in checks.items() if not holds)
    return Verdict(not failed, checks, comparison, failed)


@dataclass(frozen=True)
class PairState:
    """Evidence that the model in use is worse than the one it replaced; JSON-able.

    Attributes
    ----------
    sizes : absolute weekly differences that the next scale learns from.
    done : last week counted, ISO.
    """

    wealth: Wealth = field(default_factory=Wealth)
    sizes: tuple[float, ...] = ()
    done: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "PairState":
        """Return the state that `to_dict` described."""
        return cls(Wealth.from_dict(values["wealth"]), tuple(values["sizes"]), values["done"])


def watch_pair(state: PairState, weeks: Sequence[tuple[date, float, float]]) -> tuple[PairState, Reading]:
    """Bet that the model in use loses more than the previous one: an e-value of 20 takes the promotion back.

    The null is that weekly differences, clipped at twice their usual size (known before the week), have mean
    at most 0 given the past. Where nothing truly differs, it is rejected with chance at most 5 %, however
    often one looks.

    Parameters
    ----------
    weeks : (Monday of the cohort week, mean loss of the model in use, mean loss of the previous one) on the
        same leads, created after the promotion; weeks counted before are passed over.
    """
    wealth, sizes, done = state.wealth, state.sizes, state.done
    for week, in_use, previous in sorted(weeks):
        if week.isoformat() <= done:
            continue
        difference = in_use - previous
        scale = 2 * float(np.mean(sizes)) if sizes else 0.0
        if scale > 0:
            wealth = bet(wealth, float(np.clip(difference / scale, -1, 1)), week)
        sizes, done = (*sizes, abs(difference))[-SCALE_WEEKS:], week.isoformat()
    return PairState(wealth, sizes, done), _pair_reading(wealth, weeks)


def _pair_reading(wealth: Wealth, weeks: Sequence[tuple[date, float, float]]) -> Reading:
    spent = sum(previous for _, _, previous in weeks)
    effect = sum(in_use for _, in_use, _ in weeks) / spent - 1 if spent > 0 else 0.0
    direction = "more" if effect >= 0 else "less"
    words = f"the model in use loses {percent(abs(effect))} {direction} than the previous one"
    if wealth.since:
        words += f", evidence since the week of {day_words(wealth.since)}"
    details = {"weeks": wealth.n, "since": wealth.since}
    is_alarm = wealth.value >= ENOUGH_EVIDENCE
    return Reading(
        "rollback",
        "previous champion",
        wealth.value,
        ENOUGH_EVIDENCE,
        log10(wealth.value),
        is_alarm,
        effect,
        words,
        details,
    )


def _draw_weeks(n_weeks: int, block: int, n_resamples: int, seed: int) -> np.ndarray:
    """Return week numbers (n_resamples, >= n_weeks) in circular blocks."""
    if not 1 <= block <= n_weeks:
        raise ValueError(f"block_weeks={block} must be between 1 and {n_weeks}, the number of weeks")
    starts = np.random.default_rng(seed).integers(0, n_weeks, size=(n_resamples, -(-n_weeks // block)))
    drawn = (starts[:, :, None] + np.arange(block)).reshape(n_resamples, -1) % n_weeks
    return drawn[:, :n_weeks]
