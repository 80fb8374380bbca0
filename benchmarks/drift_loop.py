"""The gated loop of the product, night by night: its own monitors, backtest and gate, without databases.

Left out, because simulated CRMs are clean: T1 (benchmarks/monitors.py measures it, drift_poison.py feeds the
gate broken nights), the leakage court, and the shadow week before a new recipe takes over.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
from drift_fits import Fits, Learner, rows_for
from drift_policies import GATED, NIGHTLY, Run, is_harmful
from drift_worlds import World, settings

from features.sources import midnight
from flows.artefact_checks import segments_of
from flows.backtest import Predict, backtest, best
from flows.data_facts import DataFacts, NightRows, data_facts, differences, night_rows
from flows.dataset import History
from flows.evaluation import Evaluation
from flows.fitting import TooFewConversionsError
from flows.gate import Evidence, GateDecision, decide
from flows.lead_model import LabelDefinition, LeadModel, TrainingRange
from flows.leakage import LeakageReport
from flows.monitors.compare import Comparison
from flows.monitors.delay_weeks import DelayWatch, first_curve, refit_when_needed, watch_delays
from flows.monitors.early_weeks import EarlyState, watch_early
from flows.monitors.harm_weeks import HarmWatch, first_scored, watch_losses, weekly_losses, weeks_to_settle
from flows.monitors.reading import Reading
from flows.monitors.trigger import triggers
from flows.newest_labels import newest_labels
from flows.open_cohorts import compare_on_open_cohorts
from flows.recipes import RECIPES, candidates

FIRST = Learner("pkboost", RECIPES[settings().recipe])
"""The recipe that the product starts with."""

EVALUATION_WEEKS = 5
SEED = 7


@dataclass(frozen=True)
class Champion:
    """The model in use: how it was made, on which night, and from what data."""

    learner: Learner
    night: date
    facts: DataFacts | None


@dataclass
class Watcher:
    """T2, T3 and T5 over the scores published so far."""

    world: World
    delay: DelayWatch | None = None
    early: EarlyState = field(default_factory=EarlyState)
    harm: HarmWatch = field(default_factory=lambda: HarmWatch("recipe"))
    published: dict[date, pl.DataFrame] = field(default_factory=dict)

    def watch(self, night: date) -> list[Reading]:
        """Return what the monitors say before the scores of a night."""
        wins, horizon = visible(self.world.wins, night), self.world.history.labels.horizon_days
        if self.delay is None:
            try:
                self.delay = first_curve(wins, night)
            except ValueError:  # too few wins so far: the product's monitors wait too
                return []
        curve = self.delay.curve
        self.delay, readings = watch_delays(self.delay, wins, night)
        week = night - timedelta(days=7)
        if week in self.published:
            self.early, found = watch_early(self.early, {week: self.published[week]}, wins, curve, horizon)
            readings = readings + found
        if self.published:
            lag = self.world.history.labels.reporting_lag_days
            losses = weekly_losses(first_scored(self._first(), wins), curve, night, horizon, lag)
            due = weeks_to_settle(self.harm, night, min(self.published) - timedelta(days=7), lag)
            self.harm, found = watch_losses(self.harm, losses, due)
            readings = readings + found
        self.delay = refit_when_needed(self.delay, wins, night)
        return readings

    def publish(self, night: date, p: np.ndarray) -> None:
        """Remember the scores of a night."""
        keys = self.world.history.frame.filter(pl.Series(self.world.rows(night))).select("lead_id")
        self.published[night] = keys.with_columns(probability=pl.Series(p), as_of_date=pl.lit(night))

    def new_recipe(self, name: str, night: date) -> None:
        """Let T2 start anew."""
        self.harm = self.harm.of_new_line(name, night)

    def _first(self) -> pl.DataFrame:
        scores = pl.concat(self.published.values()).sort("as_of_date")
        return scores.unique("lead_id", keep="first", maintain_order=True)


def visible(wins: pl.DataFrame, night: date) -> pl.DataFrame:
    """Return leads and wins as they were known at the start of a night."""
    now = midnight(night)
    known = pl.when(pl.col("known_at") < now).then(pl.col("known_at"))
    return wins.filter(pl.col("created_at") < now).with_columns(known_at=known)


def run_loop(fits: Fits) -> Run:
    """Live through all nights with monitors, searches and the gate."""
    world = fits.world
    run, watcher, used = Run(GATED, world, harmful=[]), Watcher(world), set[tuple[Learner, date]]()
    champion = Champion(FIRST, world.nights[0], data_facts(rows_on(world, world.nights[0])))
    last_search = last_change = None
    for k, night in enumerate(world.nights):
        asked = [one for one in triggers(watcher.watch(night)) if one.action == "search"]
        run.alarms += [night] * bool(asked)
        is_rested = last_search is None or (night - last_search).days >= settings().search_rest_days
        challenger = None
        if asked and is_rested:
            last_search = night
            run.searches.append(night)
            challenger = _or_none(search, fits, champion, night, last_change)
        if challenger is None and k > 0 and k % NIGHTLY == 0:
            challenger = _or_none(refit, fits, champion, night)
        if challenger is not None:
            if is_harmful(fits, (champion.learner, champion.night), (challenger.learner, night), k):
                run.harmful.append(night)
            if challenger.learner != champion.learner:
                last_change = night
                watcher.new_recipe(challenger.learner.recipe.name, night)
            run.promotions.append(night)
            champion = challenger
        used.add((champion.learner, champion.night))
        p = fits.scores(champion.learner, champion.night, night)
        run.add(night, p)
        watcher.publish(night, p)
    run.cpu_seconds = sum(fits.cpu_seconds[one] for one in used)
    return run


def _or_none(make: Callable[..., Champion | None], *given: Any) -> Champion | None:
    """Return a challenger; None where too few conversions are known to fit it, and the champion stays."""
    try:
        return make(*given)
    except TooFewConversionsError:
        return None


def refit(fits: Fits, champion: Champion, night: date) -> Champion | None:
    """Fit the champion's recipe anew; None where the gate refuses."""
    past = known(fits.world, night)
    models = [lead_model(fits, champion.learner, day) for day in (champion.night, night)]
    comparison = compare_on_open_cohorts(past, *models, SEED)
    return through_the_gate(fits, champion, champion.learner, night, comparison)


def search(fits: Fits, champion: Champion, night: date, last_change: date | None) -> Champion | None:
    """Backtest the candidates against the champion's recipe; None where none passes the gate."""
    tried = {recipe.name: Learner("pkboost", recipe) for recipe in candidates(settings())}
    others = {name: one for name, one in tried.items() if one != champion.learner}
    predictors: dict[str, Predict] = {name: _predict(fits, one) for name, one in others.items()}
    found = backtest(
        known(fits.world, night), {"champion": _predict(fits, champion.learner)} | predictors, settings()
    )
    name = best(found, "champion", list(others))
    if name is None:
        return None
    comparison = found.compare("champion", name, SEED)
    return through_the_gate(fits, champion, others[name], night, comparison, last_change)


def through_the_gate(
    fits: Fits,
    champion: Champion,
    learner: Learner,
    night: date,
    comparison: Comparison | None,
    last_change: date | None = None,
) -> Champion | None:
    """Put the evidence together and let the product's gate decide."""
    rows = rows_on(fits.world, night)
    facts = data_facts(rows)
    models = [
        lead_model(fits, one, day) for one, day in ((champion.learner, champion.night), (learner, night))
    ]
    evidence = Evidence(
        as_of=night,
        evaluation=evaluation_of(fits, learner, night),
        leakage=LeakageReport(False, None),
        open_probabilities=fits.scores(learner, night, night),
        champion_probabilities=fits.scores(champion.learner, champion.night, night),
        segments=segments_of(rows.open_leads),
        data_problems=[] if champion.facts is None else differences(champion.facts, rows),
        comparison=comparison,
        newest=newest_labels(known(fits.world, night), models[0], models[1]),
        is_new_recipe=learner != champion.learner,
        last_recipe_change=last_change,
    )
    decision: GateDecision = decide(evidence, has_champion=True)
    return Champion(learner, night, facts) if decision.is_promoted else None


def evaluation_of(fits: Fits, learner: Learner, night: date) -> Evaluation:
    """Measure calibration in the large on the newest mature weeks, by the model of the first of them."""
    labels, world = fits.world.history.labels, fits.world
    weeks = -(-(labels.horizon_days + labels.reporting_lag_days) // 7)
    asked = [night - timedelta(weeks=weeks + k) for k in range(EVALUATION_WEEKS)]
    days = [day for day in asked if world.rows(day).any()]
    try:
        p = np.concatenate([fits.scores(learner, asked[-1], day) for day in days])
    except (TooFewConversionsError, ValueError):  # no model, or no rows, of that time
        return Evaluation("no backtest: the history is too short", 0, 0, None)
    y = np.concatenate([labels.is_won(night)[world.rows(day)] for day in days])
    ratio = float(p.sum() / y.sum()) if y.any() else None
    return Evaluation("newest mature weeks", len(y), int(y.sum()), float(y.mean()), calibration_ratio=ratio)


def rows_on(world: World, night: date) -> NightRows:
    """Return the rows that describe a night."""
    open_leads = world.history.frame.filter(pl.Series(world.rows(night)))
    found = night_rows(known(world, night), settings(train_window_days=365), open_leads)
    return found if world.has_stock else replace(found, earlier=open_leads)


def known(world: World, night: date) -> History:
    """Return the history as it was on a night."""
    return replace(world.history, as_of=night, curve=None)


def lead_model(fits: Fits, learner: Learner, night: date) -> LeadModel:
    """Wrap a fitted booster as the artefact that the gate compares."""
    fit: Any = fits.model(learner, night)
    rows = rows_for(fits.world, learner, night)
    days = rows.snapshot_dates
    first, last = days.min().astype(date), days.max().astype(date)
    span = TrainingRange(night, first, last, len(rows.y), rows.n_positives)
    label = LabelDefinition(fits.world.history.labels.horizon_days, 7, "")
    return LeadModel(fit.booster, fit.encoding, label, span)


def _predict(fits: Fits, learner: Learner) -> Predict:
    def predict(history: History, origin: date, _: Any, rows: np.ndarray) -> np.ndarray:
        return fits.model(learner, origin).probabilities(history.frame.filter(pl.Series(rows)))

    return predict
