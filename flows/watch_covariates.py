"""T4 between sources and model: new leads of tonight against new leads of the champion's training range."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl

from features.build import build
from features.delay import FloatArray
from features.matrix import to_matrix
from features.sources import Sources, as_of
from features.spine import spine
from flows.adapters.settings import Settings
from flows.lead_model import LeadModel
from flows.monitors.covariates import watch_covariates, watch_domain
from flows.monitors.reading import Reading
from flows.monitors.weeks import monday
from pkboost_core import PKBoostClassifier
from pkboost_core.drift import bin_histograms
from pkboost_core.predictor import leaf_ids

NEW_DAYS = 28
"""Only leads younger than this are compared, with leads that were as young: an old lead's counts are larger
because it is old. At snapshots so far apart every lead is there once."""
MAX_SNAPSHOTS = 6
MIN_ROWS = 80
KEPT = 8
N_TREES, MAX_ROWS = 20, 5_000
"""Of leaf occupancy: the first trees part leads by what matters most."""
ALWAYS_MOVING = ("calendar_", "track_record_")
"""Prefixes of features that differ between any two dates: they hold one number for all leads of a day, or of
its leads of one source, so that leads are no independent witnesses, and a classifier reads the date off."""

State = tuple[str, date, Mapping[str, Any]]


def watch_features(
    settings: Settings,
    sources: Sources,
    day: date,
    before: tuple[date, Mapping[str, Any]] | None,
    model: LeadModel,
) -> tuple[list[State], list[Reading], list[str]] | None:
    """Compare features once a week; None if this week has been watched.

    Returns
    -------
    state to keep, the readings that moved most, and why nothing could be compared.
    """
    if before is not None and monday(before[0]) == monday(day):
        return None
    snapshots = _snapshots(model, day)
    frame = _new_leads(sources, day, [*snapshots, day], model)
    if not model.can_score(frame):
        strange = ", ".join(model.encoding.misfits(frame))
        return [], [], [f"T4: the champion's {strange} are gone or of another kind: nothing to compare"]
    is_now = (frame["snapshot_date"] == day).to_numpy()
    if min(is_now.sum(), (~is_now).sum()) < MIN_ROWS:
        note = f"T4: {is_now.sum()} new leads tonight and {(~is_now).sum()} in training are too few"
        return [], [], [f"{note} to compare; {MIN_ROWS} are needed"]
    names, matrix = _watched_columns(model, frame)
    readings = _columns(model, names, matrix, is_now)
    domain = watch_domain(matrix[~is_now], matrix[is_now], _fit_predict(settings), settings.random_state)
    worth = readings[:KEPT] + [one for one in readings[KEPT:] if one.is_alarm]
    worth += _leaves(model, frame, is_now)[:1]
    return [("T4", day, {"snapshots": [s.isoformat() for s in snapshots]})], [domain, *worth], []


def _snapshots(model: LeadModel, day: date) -> list[date]:
    last = min(model.training_range.last_snapshot, day - timedelta(days=NEW_DAYS))
    last -= timedelta(days=(last - day).days % 7)  # the same weekday: a Monday's leads are older
    dates = [last - timedelta(days=NEW_DAYS * back) for back in range(MAX_SNAPSHOTS)]
    return [one for one in dates if one >= model.training_range.first_snapshot] or dates[:1]


def _new_leads(sources: Sources, day: date, snapshots: list[date], model: LeadModel) -> pl.DataFrame:
    known = as_of(sources, day)
    rows = spine(known, snapshots, max_age_days=NEW_DAYS)
    return build(known, rows, model.encoding.attr_kinds)


def _watched_columns(model: LeadModel, frame: pl.DataFrame) -> tuple[list[str], np.ndarray]:
    """Names and values of the features that can say something."""
    encoding = model.encoding
    dull = set(encoding.constant)
    names = [n for n in encoding.names if n not in dull and not n.startswith(ALWAYS_MOVING)]
    places = [encoding.names.index(name) for name in names]
    return names, to_matrix(frame.select(encoding.names), encoding)[:, places]


def _columns(model: LeadModel, names: list[str], matrix: np.ndarray, is_now: np.ndarray) -> list[Reading]:
    ensemble, places = model.booster.ensemble_, [model.encoding.names.index(name) for name in names]
    thresholds = [ensemble.bin_thresholds[place] for place in places]
    flags = np.asarray(ensemble.is_categorical)[places]
    old, new = (
        dict(zip(names, bin_histograms(rows, thresholds, flags), strict=True))
        for rows in (matrix[~is_now], matrix[is_now])
    )
    return watch_covariates(old, new)


def _leaves(model: LeadModel, frame: pl.DataFrame, is_now: np.ndarray) -> list[Reading]:
    """Compare how leads spread over the leaves of the first trees: what moved as the model sees it."""
    ensemble = model.booster.ensemble_
    matrix = to_matrix(frame, model.encoding)
    is_moving = [name.startswith(ALWAYS_MOVING) for name in model.encoding.names]
    matrix[:, is_moving] = np.nan  # the same leaf, whatever the date
    leaves = [leaf_ids(ensemble, _some(rows))[:, :N_TREES] for rows in (matrix[~is_now], matrix[is_now])]
    n_nodes = np.diff(ensemble.tree_offsets)
    old, new = (
        {
            f"occupancy of tree {k + 1}": np.bincount(one, minlength=n_nodes[k] + 1)
            for k, one in enumerate(own.T)
        }
        for own in leaves
    )
    return watch_covariates(old, new, kind="leaf")


def _some(rows: np.ndarray) -> np.ndarray:
    return rows[:: max(-(-len(rows) // MAX_ROWS), 1)]


def _fit_predict(settings: Settings) -> Any:
    def fit_predict(X: FloatArray, y: FloatArray, X_new: FloatArray) -> FloatArray:
        booster = PKBoostClassifier(
            n_estimators=60, random_state=settings.random_state, n_threads=settings.n_threads
        )
        return booster.fit(X, y).predict_proba(X_new)[:, 1]

    return fit_predict
