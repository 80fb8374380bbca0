from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from simulator import Drift, SimulationConfig
from tests.simulator.worlds import tables

DAY = date(2026, 2, 1)
CUT = datetime(2026, 2, 1, tzinfo=UTC)


def drifted(kind, severity=1.0):
    return tables(SimulationConfig(n_leads=4_000, drift=Drift(kind, DAY, severity)))


def halves(frame, time):
    return frame.filter(pl.col(time) < CUT), frame.filter(pl.col(time) >= CUT)


@pytest.mark.parametrize("kind", ["covariate", "prior", "concept", "delay", "gradual", "outage"])
def test_leads_before_the_drift_keep_their_hidden_parameters(kind):
    before, _ = halves(drifted(kind)["truth.lead"], "created_at")
    calm, _ = halves(tables(SimulationConfig(n_leads=4_000))["truth.lead"], "created_at")
    drawn_apart = (before["lead_id"] != calm["lead_id"]).sum()
    assert drawn_apart == 0
    assert before["p_convert"].mean() == pytest.approx(calm["p_convert"].mean(), rel=0.1)


def test_prior_lowers_conversion():
    before, after = halves(drifted("prior")["truth.lead"], "created_at")
    assert after["p_convert"].mean() < 0.5 * before["p_convert"].mean()


def test_delay_slows_conversion():
    before, after = halves(drifted("delay")["truth.lead"], "created_at")
    assert after["delay_mu"].mean() - before["delay_mu"].mean() == pytest.approx(1.1, abs=0.15)


def test_covariate_changes_who_comes_and_not_what_they_mean():
    leads = drifted("covariate")["crm.lead"]
    before, after = halves(leads, "created_date")
    poor = pl.col("lead_source").is_in(["Paid Social", "Content Syndication"])
    assert after.select(poor.mean()).item() > 2 * before.select(poor.mean()).item()


def test_concept_turns_what_a_source_means():
    world = drifted("concept")
    joined = world["crm.lead"].join(world["truth.lead"], left_on="id", right_on="lead_id")
    before, after = halves(joined, "created_at")

    def advantage(half):
        good = half.filter(pl.col("lead_source").is_in(["Referral", "Inbound Call", "Partner"]))
        return good["p_convert"].mean() / half["p_convert"].mean()

    assert advantage(before) > 1.5
    assert advantage(after) < 1.0


def test_gradual_takes_months():
    def gap(kind, start, end):
        world = drifted(kind)
        part = world["truth.lead"].filter(
            pl.col("created_at").is_between(CUT + timedelta(days=start), CUT + timedelta(days=end))
        )
        good = world["crm.lead"].filter(pl.col("lead_source").is_in(["Referral", "Inbound Call", "Partner"]))
        return part.join(good, left_on="lead_id", right_on="id")["p_convert"].mean()

    assert gap("gradual", 0, 40) > gap("concept", 0, 40)
    assert gap("gradual", 150, 260) == pytest.approx(gap("concept", 150, 260), rel=0.2)


def test_outage_loses_titles_and_triples_a_source():
    leads = drifted("outage")["crm.lead"]
    before, after = halves(leads, "created_date")
    assert after["title"].null_count() > 0.9 * len(after)
    share = pl.col("lead_source").eq("Content Syndication").mean()
    assert after.select(share).item() == pytest.approx(3 * before.select(share).item(), rel=0.25)


def test_severity_scales_the_drift():
    _, mild = halves(drifted("prior", 0.3)["truth.lead"], "created_at")
    _, harsh = halves(drifted("prior", 1.0)["truth.lead"], "created_at")
    assert harsh["p_convert"].mean() < 0.7 * mild["p_convert"].mean()
