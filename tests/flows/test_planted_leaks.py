"""Planted leaks do not get past `as_of`: late rows, backfilled columns, and a copy of the label itself."""

import json
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from features.sources import Sources, as_of
from flows.dataset import TrainingSet, history, scoring_set, training_set
from flows.lead_model import LabelDefinition
from flows.recipes import MATURE, SOFT, Recipe
from flows.training import train
from tests.features.worlds import at, day, frame
from tests.flows.late_crm import SETTINGS, crm

N = 300
TODAY = day(240)


def same(one: TrainingSet, other: TrainingSet) -> None:
    assert_frame_equal(one.frame, other.frame)
    for values in ("y", "open_odds", "win_days"):
        np.testing.assert_array_equal(getattr(one, values), getattr(other, values))


def planted(honest: Sources, known: date) -> Sources:
    """Rows that say how leads ended, dated in the past and known from the start of `known`."""
    moment = at((known - day(0)).days)
    ends = dict(honest.outcome.select("lead_id", "is_conversion").iter_rows())
    telling = {
        "activity": [
            {"lead_id": i, "activity_type": "call", "occurred_at": at(1), "known_at": moment}
            for i, won in ends.items()
            if won
        ],
        "stage": [
            {"lead_id": i, "stage": "won" if won else "lost", "entered_at": at(1), "known_at": moment}
            for i, won in ends.items()
        ],
        "outcome": [
            {"lead_id": i, "outcome_at": at(1), "known_at": moment, "is_conversion": not won}
            for i, won in ends.items()
        ],
        "field_history": [
            {"entity": "lead", "entity_id": i, "field": "industry", "value": str(won), "valid_from": moment}
            for i, won in ends.items()
        ],
    }
    return replace(
        honest,
        **{name: pl.concat([getattr(honest, name), frame(name, rows)]) for name, rows in telling.items()},
    )


@pytest.mark.parametrize("recipe", [MATURE, SOFT], ids=lambda recipe: recipe.name)
def test_rows_that_arrive_late_are_in_no_training_or_scoring_set(recipe: Recipe):
    honest, leaky = crm(N), planted(crm(N), TODAY)
    same(training_set(leaky, TODAY, SETTINGS, recipe), training_set(honest, TODAY, SETTINGS, recipe))
    assert_frame_equal(
        scoring_set(leaky, TODAY, SETTINGS, {}), scoring_set(as_of(honest, TODAY), TODAY, SETTINGS, {})
    )
    later = TODAY + timedelta(days=1)  # from then on they do change what is seen
    assert scoring_set(leaky, later, SETTINGS, {}).height < scoring_set(honest, later, SETTINGS, {}).height


@pytest.mark.parametrize("recipe", [MATURE, SOFT], ids=lambda recipe: recipe.name)
def test_a_backtest_does_not_see_labels_that_came_after_its_origin(recipe: Recipe):
    origin = TODAY - timedelta(days=70)
    honest = history(crm(N), TODAY, SETTINGS).known_at(origin, recipe, SETTINGS)
    outcomes = crm(N).outcome
    known = at((origin - day(0)).days)
    spoilt = outcomes.with_columns(
        is_conversion=pl.when(pl.col("known_at") < known).then("is_conversion").otherwise(True)
    )
    leaky = history(replace(crm(N), outcome=spoilt), TODAY, SETTINGS)
    same(leaky.known_at(origin, recipe, SETTINGS), honest)
    assert leaky.known_at(TODAY, recipe, SETTINGS).n_positives > 1.5 * honest.n_positives


def filled_late(field: str, won: str) -> pl.DataFrame:
    """History of a field that is null until a lead ends, and then `won` for those that converted."""
    log = [
        {
            "entity": "lead",
            "entity_id": i,
            "field": field,
            "value": value,
            "valid_from": start,
            "valid_to": end,
        }
        for i, born, ended, is_won in crm(N)
        .outcome.join(crm(N).lead, on="lead_id")
        .select("lead_id", "created_at", "outcome_at", "is_conversion")
        .iter_rows()
        for value, start, end in ((None, born, ended), (won if is_won else None, ended, None))
    ]
    return frame("field_history", log)


def test_a_column_filled_after_the_outcome_shows_its_old_value_before():
    honest = crm(N)
    filled = honest.lead.join(honest.outcome.select("lead_id", "is_conversion"), on="lead_id").with_columns(
        industry=pl.when("is_conversion").then(pl.lit("customer"))
    )
    leaky = replace(
        honest,
        lead=filled.select(honest.lead.columns),
        field_history=filled_late("industry", "customer"),
    )
    rows = training_set(leaky, TODAY, SETTINGS)
    assert rows.n_positives > 20
    assert rows.frame["lead_industry"].null_count() == rows.frame.height


@pytest.mark.parametrize("value", ["approved", "12.5"])
def test_so_does_a_custom_column(value: str):
    is_won = dict(crm(N).outcome.select("lead_id", "is_conversion").iter_rows())
    filled = crm(
        N, attrs=[json.dumps({"budget": value if won else None}) for _, won in sorted(is_won.items())]
    )
    without = training_set(filled, TODAY, SETTINGS)
    assert without.frame["attrs_budget"].null_count() < without.frame.height
    rows = training_set(replace(filled, field_history=filled_late("attrs_budget", value)), TODAY, SETTINGS)
    assert rows.n_positives > 20
    assert rows.frame["attrs_budget"].dtype == without.frame["attrs_budget"].dtype
    assert rows.frame["attrs_budget"].null_count() == rows.frame.height


def test_a_copy_of_the_label_raises_the_alarm_by_name():
    is_won = np.zeros(N, dtype=bool)
    numbers = crm(N).outcome.filter("is_conversion")["lead_id"].str.slice(1).cast(pl.Int64).to_numpy()
    is_won[numbers] = True
    noise = np.random.default_rng(0).normal(size=N)
    notes = [
        json.dumps({"closing_code": int(won), "shoe_size": size})
        for won, size in zip(is_won, noise, strict=True)
    ]
    leaky = crm(N, lead_source=["web"] * N, attrs=notes)
    trained = train(leaky, day(290), SETTINGS, LabelDefinition(60, 10, ""), "", None, MATURE)
    assert trained.leakage.is_alarm
    assert [suspect.column for suspect in trained.leakage.suspects] == ["attrs_closing_code"]
