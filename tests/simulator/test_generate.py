from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from simulator import SimulationConfig, simulate
from tests.simulator.worlds import DEFAULT, tables

SMALL = SimulationConfig(n_leads=2_500, seed=3)


def test_rows_do_not_depend_on_the_chunk_size():
    whole, pieces = tables(SMALL), tables(SMALL, 1_000)
    for name in whole:
        assert_frame_equal(whole[name], pieces[name])


def test_chunks_are_bounded_and_dimensions_come_first():
    sizes = [chunk.n_leads for chunk in simulate(SMALL, 1_000)]
    assert sizes == [0, 1_000, 1_000, 500]
    with pytest.raises(ValueError, match="chunk_leads=0"):
        next(simulate(SMALL, 0))


def test_another_seed_gives_other_leads():
    other = tables(SimulationConfig(n_leads=2_500, seed=4))
    assert not tables(SMALL)["crm.lead"].equals(other["crm.lead"])


def test_five_in_a_hundred_convert_with_a_median_delay_of_two_weeks():
    truth = tables(SimulationConfig(n_leads=12_000))["truth.lead"]
    assert truth["p_convert"].mean() == pytest.approx(0.05, abs=0.004)
    delay = truth.filter(outcome="converted").select(
        (pl.col("outcome_at") - pl.col("created_at")) / timedelta(days=1)
    )
    days = delay.to_series()
    assert len(days) / 12_000 == pytest.approx(0.05, abs=0.006)
    assert days.median() == pytest.approx(14, rel=0.25)
    assert days.quantile(0.9) == pytest.approx(160, rel=0.3)


def test_nothing_happened_or_arrived_after_the_clock():
    clock = datetime.combine(DEFAULT.end, datetime.min.time(), UTC)
    for name, frame in tables().items():
        if name.startswith("crm."):
            assert frame["_synced"].max() < clock, name
    for name in ("crm.web_event", "crm.email_event"):
        assert tables()[name]["occurred_at"].max() < clock


def test_no_touch_precedes_its_lead_and_none_but_onboarding_follows_the_outcome():
    lives = tables()["truth.lead"].select("lead_id", "created_at", "outcome", "closed_at")
    for name in ("crm.web_event", "crm.email_event"):
        touches = tables()[name].join(lives, on="lead_id")
        assert touches.filter(pl.col("occurred_at") < pl.col("created_at")).is_empty()
        late = touches.filter(pl.col("occurred_at") >= pl.col("closed_at"))
        assert set(late["event_type"]) <= {"sent"}
        assert set(late["outcome"]) <= {"converted"}


def test_the_volume_is_that_of_a_real_crm():
    every = tables()
    touches = sum(every[name].height for name in ("crm.web_event", "crm.email_event", "crm.task"))
    assert 20 <= touches / 6_000 <= 45
