"""The delay curve on simulated log-normal delays, median 14 days, 90 % by day 160, truncated at as_of."""

import json
import math
import os
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.delay import DelayCurve, expected_wins, rescore
from features.delay_estimation import MIN_AT_RISK, PSEUDO_WINS, estimate_delay_curve, fit_truncated_lognormal
from features.late_labels import LateLabels
from features.readiness import readiness

DATA = os.environ.get("LEADSCORE_DATA_DIR", Path(__file__).parents[3] / "shared" / "data")
OLIST = Path(DATA) / "olist"
AS_OF = date(2025, 1, 1)
NOW = datetime(2025, 1, 1, tzinfo=UTC)
MU, SIGMA = math.log(14), math.log(160 / 14) / 1.2815515655446004
AGES = np.array([7.0, 14.0, 30.0, 60.0, 90.0, 180.0])


def truth(ages, mu=MU):
    return np.array([0.5 * math.erfc(-(math.log(a) - mu) / SIGMA / math.sqrt(2)) for a in ages])


def wins(n, span_days, seed=0, mu=MU, lag_days=0.0, **columns):
    rng = np.random.default_rng(seed)
    age = rng.uniform(0, span_days, n)
    delay = np.minimum(np.exp(rng.normal(mu, SIGMA, n)), 5000.0)
    lag = rng.exponential(lag_days, n) if lag_days else np.zeros(n)
    frame = pl.DataFrame(
        {
            "created_at": [NOW - timedelta(days=a) for a in age],
            "outcome_at": [NOW + timedelta(days=d - a) for a, d in zip(age, delay, strict=True)],
            "known_at": [NOW + timedelta(days=d - a + x) for a, d, x in zip(age, delay, lag, strict=True)],
        },
        schema=dict.fromkeys(["created_at", "outcome_at", "known_at"], pl.Datetime("us", "UTC")),
    )
    return frame.with_columns(**columns)


def test_truncation_is_undone_where_counting_would_be_far_off():
    sample = wins(4000, 400)
    known = sample.filter(pl.col("known_at") < NOW)
    delays = (known["known_at"] - known["created_at"]).dt.total_seconds().to_numpy() / 86_400
    counted = np.array([(delays <= a).mean() for a in AGES])
    estimated = estimate_delay_curve(sample, AS_OF, tail="lognormal")(AGES)
    assert np.abs(estimated - truth(AGES)).max() < 0.035
    assert np.abs(counted - truth(AGES)).max() > 0.07


def test_mean_over_samples_has_no_bias_with_a_lognormal_tail():
    estimates = [
        estimate_delay_curve(wins(1500, 300, seed), AS_OF, tail="lognormal")(AGES) for seed in range(12)
    ]
    error = np.std(estimates, axis=0) / math.sqrt(len(estimates))
    assert np.all(np.abs(np.mean(estimates, axis=0) - truth(AGES)) < 3.5 * error + 0.005)


def test_observed_tail_is_the_curve_given_a_win_by_the_supported_age():
    curve = estimate_delay_curve(wins(5000, 200), AS_OF, tail="observed")
    conditional = truth(AGES[:-1]) / truth([curve.support_days])
    assert curve(curve.support_days) == 1.0
    assert np.abs(curve(AGES[:-1]) - conditional).max() < 0.03
    assert np.all(curve(AGES[:-1]) > truth(AGES[:-1]) + 0.02)


def test_event_may_be_the_date_of_the_win_while_truncation_acts_on_its_arrival():
    sample = wins(4000, 500, lag_days=10.0)
    by_date = estimate_delay_curve(sample, AS_OF, event="outcome_at", tail="lognormal")
    by_arrival = estimate_delay_curve(sample, AS_OF, event="known_at", tail="lognormal")
    assert np.abs(by_date(AGES) - truth(AGES)).max() < 0.04
    assert by_arrival(7.0) < by_date(7.0) - 0.1


def test_wins_known_later_change_nothing():
    sample = wins(1000, 300)
    known = sample.filter(pl.col("known_at") < NOW)
    assert estimate_delay_curve(sample, AS_OF) == estimate_delay_curve(known, AS_OF)
    assert estimate_delay_curve(
        sample.sample(fraction=1.0, shuffle=True, seed=1), AS_OF
    ) == estimate_delay_curve(known, AS_OF)


def test_untruncated_old_cohorts_give_the_empirical_distribution():
    rng = np.random.default_rng(3)
    delays = rng.uniform(1, 50, 300)
    created = [NOW - timedelta(days=1000)] * 300
    known = [c + timedelta(days=float(d)) for c, d in zip(created, delays, strict=True)]
    frame = pl.DataFrame({"created_at": created, "known_at": known})
    curve = estimate_delay_curve(frame, AS_OF)
    knots = np.asarray(curve.ages)
    assert np.allclose(curve(knots), [(delays <= a).mean() for a in knots], atol=1e-9)


def test_small_segments_have_the_pooled_curve_and_large_ones_their_own():
    slow = wins(3000, 900, 1, mu=math.log(40), source=pl.lit("fair"))
    quick = wins(3000, 900, 2, mu=math.log(5), source=pl.lit("web"))
    few = wins(4, 900, 3, mu=math.log(900), source=pl.lit("new"))
    curve = estimate_delay_curve(pl.concat([slow, quick, few]), AS_OF, segment="source", tail="lognormal")
    assert abs(curve(14.0, "fair") - truth([14.0], math.log(40))[0]) < 0.03
    assert abs(curve(14.0, "web") - truth([14.0], math.log(5))[0]) < 0.045
    assert abs(curve(14.0, "new") - curve(14.0)) < 0.06
    assert curve(14.0, "unheard of") == curve(14.0)
    mixed = curve([14.0, 14.0, 14.0], ["fair", "web", "unheard of"])
    assert mixed.tolist() == [curve(14.0, "fair"), curve(14.0, "web"), curve(14.0)]


def test_shrinkage_weighs_fifty_pseudo_wins():
    base = wins(4000, 900, 1)
    other = wins(50, 900, 2, mu=math.log(2000)).filter(pl.col("known_at") < NOW)
    sample = pl.concat([base.with_columns(s=pl.lit("a")), other.with_columns(s=pl.lit("b"))])
    curve = estimate_delay_curve(sample, AS_OF, segment="s")
    n = curve.segment_wins["b"]
    alone = (other["known_at"] - other["created_at"]).dt.total_seconds().to_numpy() / 86_400
    young = float((alone <= 30).mean())
    mixture = (n * young + PSEUDO_WINS * curve(30.0)) / (n + PSEUDO_WINS)
    assert abs(curve(30.0, "b") - mixture) < 0.12
    assert curve(30.0, "b") < curve(30.0)


def test_curve_is_monotone_starts_at_zero_and_survives_json():
    curve = estimate_delay_curve(wins(800, 300, s=pl.lit("x")), AS_OF, segment="s", tail="lognormal")
    ages = np.linspace(-5, 3000, 4000)
    for segment in (None, "x"):
        seen = curve(ages, segment)
        assert seen[0] == 0
        assert curve(0.0, segment) == 0
        assert np.all(np.diff(seen) >= 0)
        assert seen.max() <= 1
    assert DelayCurve.from_dict(json.loads(json.dumps(curve.to_dict()))) == curve
    assert curve(curve.quantile(0.5)) == pytest.approx(0.5)


def test_truncated_lognormal_is_recovered():
    rng = np.random.default_rng(5)
    limits = rng.uniform(1, 300, 6000)
    delays = np.exp(rng.normal(MU, SIGMA, 6000))
    kept = delays <= limits
    mu, sigma = fit_truncated_lognormal(delays[kept], limits[kept])
    assert abs(mu - MU) < 0.15
    assert abs(sigma - SIGMA) < 0.12


def test_too_few_wins_are_refused_with_what_to_do():
    with pytest.raises(ValueError, match=r"\d+ wins are too few .* wait for more"):
        estimate_delay_curve(wins(MIN_AT_RISK - 1, 300), AS_OF)
    with pytest.raises(ValueError, match="0 wins are too few"):
        estimate_delay_curve(wins(100, 300).clear(), AS_OF)
    with pytest.raises(ValueError, match="wins lack column 'known_at'"):
        estimate_delay_curve(wins(100, 300).drop("known_at"), AS_OF)


def test_rescore_is_bayes_theorem():
    p, seen = 0.3, 0.6
    assert rescore(p, seen) == pytest.approx(p * (1 - seen) / (1 - p + p * (1 - seen)))
    assert rescore([0.2, 0.9], 0.0).tolist() == pytest.approx([0.2, 0.9])
    assert rescore([0.2, 0.9], 1.0).tolist() == [0, 0]
    faded = rescore(0.4, np.linspace(0, 1, 50))
    assert np.all(np.diff(faded) < 0)


def test_soft_labels_of_many_leads_have_the_mean_of_their_true_labels():
    rng = np.random.default_rng(0)
    p, age = rng.beta(1, 6, 200_000), rng.choice(AGES, 200_000)
    seen = dict(zip(AGES, truth(AGES), strict=True))
    share = np.array([seen[a] for a in AGES])[np.searchsorted(AGES, age)]
    will_win = rng.random(len(p)) < p
    is_won = will_win & (rng.random(len(p)) < share)
    labels = np.where(is_won, 1.0, rescore(p, share))
    assert labels[is_won].min() == 1
    assert labels.mean() == pytest.approx(will_win.mean(), abs=0.003)
    assert labels[~is_won].mean() == pytest.approx(will_win[~is_won].mean(), abs=0.003)


def test_expected_wins_match_a_count():
    rng = np.random.default_rng(1)
    p = rng.beta(1, 4, 300_000)
    now, then = 0.4, 0.55
    luck = rng.random(len(p))
    will_win = rng.random(len(p)) < p
    is_open = ~(will_win & (luck < now))
    new_wins = (will_win & (luck >= now) & (luck < then))[is_open].sum()
    assert expected_wins(p[is_open], now, then).sum() == pytest.approx(new_wins, rel=0.03)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rescore(1.0, 0.5), "p must be a probability"),
        (lambda: rescore(float("nan"), 0.5), "p must be a probability"),
        (lambda: rescore(0.5, 1.5), "share of wins seen"),
        (lambda: expected_wins(0.5, 0.6, 0.5), "F never falls"),
    ],
)
def test_bad_probabilities_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_bad_curves_and_ages_are_refused():
    curve = DelayCurve((0.0, 10.0), (0.0, 1.0), {}, 5, {}, 10.0, "observed")
    with pytest.raises(ValueError, match="NaN"):
        curve([1.0, math.nan])
    with pytest.raises(ValueError, match="one segment per age"):
        curve([1.0, 2.0], ["a"])
    with pytest.raises(ValueError, match="start at 0"):
        DelayCurve((1.0, 10.0), (0.0, 1.0), {}, 5, {}, 10.0, "observed")
    with pytest.raises(ValueError, match="curve 'a' must rise"):
        DelayCurve((0.0, 5.0, 10.0), (0.0, 0.5, 1.0), {"a": (0.0, 0.6, 0.5)}, 5, {}, 10.0, "observed")


def test_share_of_a_label_window():
    curve = DelayCurve((0.0, 100.0), (0.0, 1.0), {}, 5, {}, 100.0, "observed")
    assert curve.window_share(20.0, 15.0, 60) == pytest.approx(0.25)
    assert curve.window_share(20.0, [0.0, 60.0, 90.0], 60).tolist() == [0, 1, 1]
    assert curve.window_share(150.0, 1.0, 60) == 1.0


def late(ages, won_after):
    """Rows of the given ages at AS_OF, won so many days after their snapshot (infinite: never)."""
    snapshots = np.datetime64(AS_OF, "D") - np.asarray(ages, dtype="timedelta64[D]")
    never = np.full(len(ages), np.inf)
    bands = np.full(len(ages), "0-6 days")
    return LateLabels(snapshots, bands, np.array(won_after, dtype=float), never, never, 60, 7)


def test_readiness_counts_by_hand():
    curve = DelayCurve((0.0, 100.0), (0.0, 1.0), {}, 5, {}, 100.0, "observed")
    labels = late([100, 100, 67, 66, 66, 20, 8], [10, np.inf, 61, 65, 3, np.inf, np.inf])
    found = readiness(labels, AS_OF, curve)
    assert (found.mature_rows, found.mature_wins) == (3, 2)
    assert found.newest_mature == (AS_OF - timedelta(days=67)).isoformat()
    assert (found.early_wins, found.open_rows, found.soft_rows, found.soft_wins) == (2, 2, 3, 2)
    assert [(b.first_day, b.last_day, b.mature_rows, b.mature_wins) for b in found.buckets] == [
        (0, 6, 7, 1),
        (7, 29, 4, 1),
        (30, 59, 2, 1),
    ]
    assert "too few" in found.words()[0]
    assert json.dumps(found.words())
    assert readiness(labels, AS_OF, None).soft_rows == 0


def test_readiness_without_rows_is_all_zero():
    found = readiness(late([], []), AS_OF, None)
    assert (found.mature_rows, found.open_rows, found.newest_mature) == (0, 0, None)


@pytest.mark.parametrize("void_share", [0.0, 0.2])
def test_an_open_lead_that_has_escaped_losses_too_is_not_called_hopeless(void_share):
    """Wins and losses arrive at their own pace: open rows win as often as their odds say.

    So they do where leads had been lost before their snapshot, which was heard of within a week after it.
    """
    rng = np.random.default_rng(4)
    n, age = 200_000, 15
    ages = np.where(np.arange(n) < n // 2, 200, age)
    win = np.where(rng.random(n) < 0.3, rng.exponential(20, n), np.inf)
    loss = np.where(np.isinf(win), rng.exponential(10, n), np.inf)
    win[win >= 60] = np.inf
    is_void = rng.random(n) < void_share
    void = np.where(is_void, rng.uniform(0, 7, n), np.inf)
    win, loss = np.where(is_void, np.inf, win), np.minimum(loss, void)
    labels = replace(late(ages, win), end_days=loss, void_days=void)
    curve = labels.delay_curve(AS_OF)
    odds = labels.open_odds(AS_OF, curve)
    is_open = (ages == age) & (win >= age) & (loss >= age)
    assert ((odds > 0) == is_open).all()
    p, later = np.isfinite(win[~is_void]).mean(), np.isfinite(win[is_open]).mean()
    s = odds[is_open].mean()
    assert p * s / (1 - p + p * s) == pytest.approx(later, abs=0.01)
    assert rescore(p, float(curve(age))) < 0.7 * later


@pytest.mark.parametrize("precision", [lambda days: days, np.floor], ids=["instants", "days"])
def test_the_curve_of_rows_is_the_share_that_is_won_shows_at_that_age(precision):
    """A win of the seventh day that is dated by its day is seen on the eighth night, not on the seventh."""
    rng = np.random.default_rng(2)
    n = 60_000
    win = np.exp(rng.normal(MU, SIGMA, n))
    win = np.where(win < 60, precision(win), np.inf)
    labels = late(rng.integers(1, 62, n) * 7, win)
    mature = np.array([(win[np.isfinite(win)] < age).mean() for age in AGES[:4]])
    assert labels.delay_curve(AS_OF)(AGES[:4]) == pytest.approx(mature, abs=0.006)


def test_wins_of_leads_that_had_been_lost_before_the_snapshot_are_not_in_the_curve():
    labels = late([200] * 200, np.linspace(1, 59.9, 200))
    voids = late([200] * 200, [50.0] * 200)
    both = {
        name: np.concatenate([getattr(labels, name), getattr(voids, name)])
        for name in ("snapshots", "segments", "win_days", "end_days")
    }
    mixed = replace(labels, **both, void_days=np.repeat([np.inf, 2.0], 200))
    assert mixed.delay_curve(AS_OF) == labels.delay_curve(AS_OF)


@pytest.mark.data
@pytest.mark.skipif(not OLIST.is_dir(), reason=f"no real data at {OLIST} (LEADSCORE_DATA_DIR)")
def test_olist_half_a_year_before_its_last_win_already_looks_as_it_will():
    leads = pl.read_csv(OLIST / "olist_marketing_qualified_leads_dataset.csv", try_parse_dates=True)
    deals = pl.read_csv(OLIST / "olist_closed_deals_dataset.csv", try_parse_dates=True)
    sample = deals.join(leads, on="mql_id").select(
        created_at=pl.col("first_contact_date").cast(pl.Datetime("us", "UTC")),
        known_at=pl.col("won_date").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
    )
    as_of = date(2018, 6, 1)
    days = (pl.col("known_at") - pl.col("created_at")).dt.total_seconds() / 86_400
    known = sample.filter(pl.col("known_at") < datetime(2018, 6, 1, tzinfo=UTC)).select(days).to_series()
    final = sample.select(days).to_series()
    ages = (7.0, 14.0, 30.0, 60.0, 90.0)
    truth_now, counted = (np.array([(s <= a).mean() for a in ages]) for s in (final, known))
    estimated = estimate_delay_curve(sample, as_of, tail="lognormal")(ages)
    assert np.abs(estimated - truth_now).max() < 0.04
    assert np.abs(counted - truth_now).max() > 0.12
