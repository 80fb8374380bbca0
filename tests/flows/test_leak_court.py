"""The leak court: what it makes of columns that know, or seem to know, how a lead ends."""

import numpy as np
import polars as pl
import pytest

from flows.leak_court import Evidence, ablation_deltas, hear, rule

N = 3000


@pytest.fixture(scope="module")
def case():
    rng = np.random.default_rng(0)
    is_won = rng.random(N) < 0.1
    columns = pl.DataFrame(
        {
            "industry": rng.choice(["Bank", "Retail", ""], N),
            "annual_revenue": np.where(rng.random(N) < 0.5, rng.normal(5, 1, N), np.nan),
            "attrs_seats": np.where(is_won, rng.normal(9, 1, N), rng.normal(5, 1, N)),
            "attrs_contact_person": np.where(is_won | (rng.random(N) < 0.3), rng.choice(["a", "b"], N), None),
            "attrs_won_by": rng.choice(["x", "y"], N),
        }
    ).with_columns(pl.col("annual_revenue").fill_nan(None))
    return columns, is_won, np.arange(N).astype(str)


def test_each_kind_of_evidence_has_its_own_words(case):
    found = {
        ruling.column: ruling
        for ruling in hear(*case, filled_after={"annual_revenue": 0.4, "industry": 0.02})
    }
    assert {name: ruling.verdict for name, ruling in found.items()} == {
        "annual_revenue": "banned",
        "attrs_contact_person": "suspect",
        "attrs_seats": "suspect",
        "attrs_won_by": "suspect",
        "industry": "allowed",
    }
    assert found["annual_revenue"].reason == "40% of won leads got their value at or after the conversion"
    assert found["attrs_contact_person"].reason.startswith("filled for 100% of won leads and 29% of others")
    assert found["attrs_seats"].reason == "ROC-AUC 1.00 alone"
    assert found["attrs_won_by"].reason == "named like a value that is overwritten in place"
    assert found["industry"].evidence.fill_won == pytest.approx(2 / 3, abs=0.06)  # empty text is no value


def test_the_worst_comes_first(case):
    verdicts = [ruling.verdict for ruling in hear(*case, filled_after={"annual_revenue": 0.4})]
    assert verdicts == ["banned", "suspect", "suspect", "suspect", "allowed"]


def test_with_few_won_leads_only_names_are_judged(case):
    columns, _, ids = case
    is_won = np.zeros(N, bool)
    is_won[:19] = True
    found = {ruling.column: ruling for ruling in hear(columns, is_won, ids, {})}
    assert found["attrs_seats"].verdict == "allowed"
    assert found["attrs_seats"].evidence.roc_auc is None
    assert found["attrs_won_by"].verdict == "suspect"


def test_a_gap_that_chance_can_make_accuses_nobody():
    few = Evidence("a", 25, 40, 0.6, 0.35, None, 0.6, False)
    assert rule(few).verdict == "allowed"
    assert rule(Evidence("a", 2500, 4000, 0.6, 0.35, None, 0.6, False)).verdict == "suspect"
    assert (
        rule(Evidence("a", 2500, 4000, 0.3, 0.9, None, 0.6, False)).verdict == "allowed"
    )  # filled for others


def test_the_ablation_costs_what_the_column_alone_knows(case):
    columns, is_won, ids = case
    deltas = ablation_deltas(columns, is_won.astype(float), ids, ["attrs_seats", "attrs_won_by"])
    assert deltas["attrs_seats"] > 0.1
    assert abs(deltas["attrs_won_by"]) < 0.05
    heard = {r.column: r.evidence.ablation_delta for r in hear(*case, filled_after={}, with_ablation=True)}
    assert heard["attrs_seats"] > 0.1
    assert heard["industry"] is None
