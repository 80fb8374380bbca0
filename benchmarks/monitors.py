"""How often the monitors cry wolf, and how soon they find what is real, in simulated time.

    python benchmarks/monitors.py [--quick] [--only PART ...] [--years N] [--json FILE] [--write]

Quiet years have what real ones have: weekdays, quiet months, holidays, volume and conversions that vary
more than chance, list uploads with most fields empty, a model that is a few percent off, a delay curve
estimated from the year before. `--write` puts the tables into docs/monitors.md.
"""

import argparse
import json
import math
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import tables
from monitor_peers import alarms_of_peer, peers

from features.delay import DelayCurve
from features.delay_estimation import estimate_delay_curve
from flows.monitors.covariates import watch_covariates
from flows.monitors.delay_drift import delay_evidence, watch_delay
from flows.monitors.e_process import LOW_RATIOS, RateState, watch_rate
from flows.monitors.early_wins import THRESHOLD, expected_early_wins, watch_early_wins
from flows.monitors.harm import AGES, HarmState, cohort_losses, harm_reference, watch_harm
from flows.monitors.integrity import check_integrity
from flows.monitors.integrity_state import IntegrityState
from flows.monitors.profile import Profile, profile

DOCUMENT = Path(__file__).parents[1] / "docs" / "monitors.md"
START = date(2023, 1, 2)
WEEKDAYS = np.array([1.15, 1.2, 1.2, 1.1, 0.95, 0.35, 0.3])
MONTHS = np.array([0.95, 1.0, 1.0, 0.95, 1.0, 0.95, 0.85, 0.8, 1.0, 1.0, 1.0, 0.75])
HOLIDAYS = ((1, 1), (4, 18), (4, 21), (5, 1), (5, 26), (12, 24), (12, 25), (12, 26), (12, 31))
DELAY_MU, DELAY_SIGMA = math.log(14), math.log(160 / 14) / 1.2815515655446004
SPECIFIED_RATIOS = (0.3, 0.45, 0.6)
EXPECTED = (8, 17, 33, 66)
AIM_WEEKS = ("11", "8", "5-6", "3-4")
FALLS = (0.4, 0.7)
RUN_IN, RUN = 60, 104
RUN_IN_DAYS = 126
FAULT_DAY = 99


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="8 years, 100 changes, 10 tries a fault")
    parser.add_argument("--only", nargs="*", choices=("quiet", "delays", "faults"), help="these tables alone")
    parser.add_argument("--years", type=int, default=100)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--write", action="store_true", help=f"write the tables into {DOCUMENT.name}")
    options = parser.parse_args()
    years, runs, tries = (8, 100, 10) if options.quick else (options.years, 600, 100)
    started = time.perf_counter()
    parts: dict[str, Callable[[], dict]] = {
        "quiet": lambda: quiet_years(years),
        "delays": lambda: {
            str(fall): {str(mu): detection_delays(mu, fall, runs) for mu in EXPECTED} for fall in FALLS
        },
        "faults": lambda: faults(tries),
    }
    results: dict[str, Any] = {name: parts[name]() for name in options.only or parts}
    results["seconds"] = round(time.perf_counter() - started, 1)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    report(results, options.write)


def holidays(first: date, n_days: int) -> frozenset[date]:
    """Public holidays and the days between Christmas and New Year, as a calendar would list them."""
    days = [first + timedelta(days=k) for k in range(n_days)]
    between = {27, 28, 29, 30}
    return frozenset(d for d in days if (d.month, d.day) in HOLIDAYS or (d.month == 12 and d.day in between))


def daily_rows(rng: np.random.Generator, n_days: int, mean: float) -> dict[date, int]:
    """Leads a day: weekdays, months, holidays at a fifth, and a fifth of gamma noise."""
    days = [START + timedelta(days=k) for k in range(n_days)]
    free = holidays(START, n_days)
    rates = [
        mean * WEEKDAYS[d.weekday()] * MONTHS[d.month - 1] * (0.2 if d in free else 1.0) * rng.gamma(25, 0.04)
        for d in days
    ]
    return dict(zip(days, rng.poisson(rates).tolist(), strict=True))


def lead_table(rng: np.random.Generator, rows: int) -> pl.DataFrame:
    """One day of leads; on one day of sixteen a list is uploaded on top, of which little is filled in."""
    listed = int(rng.integers(10, 40)) if rng.random() < 1 / 16 else 0
    n = rows + listed
    is_listed = np.arange(n) >= rows
    empty = rng.random((n, 3)) < np.where(is_listed, 0.8, 0.15)[:, None]
    sources = rng.choice(["web", "fair", "ads", "referral"], n, p=[0.5, 0.1, 0.3, 0.1])
    industry = rng.choice(["software", "retail", "health", "finance", "other"], n)
    frame = pl.DataFrame(
        {
            "lead_source": np.where(is_listed, "list", sources),
            "industry": industry,
            "country": rng.choice(["DE", "US", "GB", "FR", "IN"], n, p=[0.4, 0.3, 0.15, 0.1, 0.05]),
            "employee_count": np.floor(np.exp(rng.normal(4, 1.5, n))) + 1,
            "annual_revenue": np.exp(rng.normal(14, 2, n)),
        },
        schema_overrides=dict.fromkeys(["lead_source", "industry", "country"], pl.String),
    )
    columns = ["industry", "employee_count", "annual_revenue"]
    masks = [pl.Series(name, empty[:, k]) for k, name in enumerate(columns)]
    return frame.with_columns(
        pl.when(~mask).then(pl.col(name)).alias(name) for name, mask in zip(columns, masks, strict=True)
    )


def quiet_years(years: int) -> dict[str, float]:
    """Count alarms and pages in years in which nothing happened."""
    counts: Counter[str] = Counter()
    for seed in range(years):
        counts.update(quiet_integrity(seed, 25.0, know_holidays=True))
        if seed % 4 == 0:
            small = quiet_integrity(seed, 8.0, know_holidays=True)
            blind = quiet_integrity(seed, 25.0, know_holidays=False)
            counts.update({f"{k}, 8 a day": 4 * n for k, n in small.items()})
            counts.update({f"{k}, no holidays": 4 * n for k, n in blind.items()})
            counts.update({"T4 weeks": 4 * quiet_covariates(seed)})
        counts.update(quiet_labels(seed))
        print(f"quiet year {seed + 1} of {years}: {dict(counts)}", flush=True)
    return {"years": years, **{name: n / years for name, n in counts.items()}}


def quiet_integrity(seed: int, mean: float, *, know_holidays: bool) -> Counter[str]:
    """One year of T1: nights on which something would block a model, and nights with a page."""
    rng = np.random.default_rng([seed, 1])
    rows = daily_rows(rng, 365 + RUN_IN_DAYS, mean)
    free = holidays(START, 365 + RUN_IN_DAYS) if know_holidays else frozenset()
    profiles = [profile(lead_table(rng, n), day) for day, n in rows.items()]
    state, counts = IntegrityState(), Counter({"T1 blocked nights": 0, "T1 pages": 0})
    for k in range(RUN_IN_DAYS, len(profiles)):
        day = START + timedelta(days=k)
        state, readings = check_integrity(state, "lead", profiles[k - RUN_IN_DAYS : k + 1], day, free)
        counts["T1 blocked nights"] += any(reading.is_alarm for reading in readings)
        counts["T1 pages"] += any(reading.is_page for reading in readings)
    return counts


class Pipeline:
    """Two years of leads and wins; the model is a few percent off, wins of a week share their luck."""

    def __init__(self, seed: int, per_day: float = 42.0) -> None:
        rng = np.random.default_rng([seed, 2])
        rows = daily_rows(rng, 730, per_day)
        self.day = np.repeat(np.arange(730), list(rows.values()))
        n = len(self.day)
        self.created = self.day + rng.uniform(0, 1, n)
        p = rng.beta(1.2, 10.8, n)
        self.p = np.clip(p * math.exp(rng.normal(0, 0.04)), 0, 0.95)
        luck = rng.gamma(100, 0.01, 105)[self.day // 7]
        wins = rng.random(n) < np.minimum(p * luck, 1)
        self.delay = np.where(wins, np.exp(rng.normal(DELAY_MU, DELAY_SIGMA, n)), np.inf)
        self.curve = self._curve(365)

    def _curve(self, day: int) -> DelayCurve:
        known = self.created + self.delay < day
        start = datetime(START.year, START.month, START.day, tzinfo=UTC)
        created, delay = self.created[known], self.delay[known]
        frame = pl.DataFrame(
            {
                "created_at": [start + timedelta(days=c) for c in created.tolist()],
                "known_at": [start + timedelta(days=c) for c in (created + delay).tolist()],
            }
        )
        return estimate_delay_curve(frame, START + timedelta(days=day), tail="lognormal")

    def losses(self, first: int, last: int, as_of: int) -> list:
        """Cohort losses of leads created on days [first, last), known on day `as_of`."""
        chosen = (self.day >= first) & (self.day < last)
        delay = np.where(self.created + self.delay < as_of, self.delay, np.inf)[chosen]
        created = np.datetime64(START) + self.day[chosen]
        return cohort_losses(created, self.p[chosen], delay, self.curve, START + timedelta(days=as_of))

    def early_wins(self, day: int) -> tuple[int, float]:
        """Observed and expected wins of the week from `day` on."""
        won_at = self.created + self.delay
        is_open = (self.created <= day) & (won_at > day)
        expected = expected_early_wins(self.p[is_open], day - self.created[is_open], self.curve)
        return int((is_open & (won_at <= day + 7)).sum()), expected


def quiet_labels(seed: int) -> Counter[str]:
    """One year of T2, T3 and T5, week by week."""
    world, counts = Pipeline(seed), Counter({"T2 alarms": 0, "T3 alarms": 0, "T5 alarms": 0})
    references = {}
    for age in AGES:
        known = [one.loss for one in world.losses(0, 364, 364) if one.age == age]
        references[age] = harm_reference(known[-26:])
    harm, early, delays = HarmState(references), RateState(), RateState()
    alarmed: set[str] = set()
    for day in range(364, 728, 7):
        week = START + timedelta(days=day)
        harm, readings = watch_harm(harm, world.losses(364, day, day))
        alarmed |= {reading.subject for reading in readings if reading.is_alarm}
        observed, expected = world.early_wins(day)
        counts["early wins"] += observed / 52
        early, readings = watch_early_wins(early, week, observed, expected)
        counts["T3 alarms"] += sum(reading.is_alarm for reading in readings)
        cohort = (world.day >= day - 42) & (world.day < day - 35)
        evidence = delay_evidence(world.delay[cohort], world.curve)
        delays, readings = watch_delay(delays, week, *evidence, world.curve)
        counts["T5 alarms"] += sum(reading.is_alarm for reading in readings)
    counts["T2 alarms"] += len(alarmed)
    return counts


def quiet_covariates(seed: int) -> int:
    """Weeks of a year in which T4 names one of forty features: 175 leads against those of half a year."""
    rng, names, weeks = np.random.default_rng([seed, 5]), [f"feature_{k}" for k in range(40)], 0
    for _ in range(52):
        old, new = (rng.multinomial(n, np.full(10, 0.1), 40) for n in (4500, 175))
        readings = watch_covariates(dict(zip(names, old, strict=True)), dict(zip(names, new, strict=True)))
        weeks += any(reading.is_alarm for reading in readings)
    return weeks


def detection_delays(expected: int, fall: float, runs: int) -> dict[str, list[float]]:
    """Return per detector the median weeks to a fall, the share found in a year, false alarms a year."""
    rng = np.random.default_rng([expected, 3])
    known = peers(expected, RUN_IN + RUN)
    rates = np.where(np.arange(RUN_IN + RUN) < RUN_IN, expected, (1 - fall) * expected)
    observed = rng.poisson(rates, (runs, RUN_IN + RUN))
    detectors: dict[str, Callable[[np.ndarray], list[bool]]] = {
        "T3": lambda o: alarms_of(o, expected, LOW_RATIOS),
        "T3 with the ratios .3, .45, .6": lambda o: alarms_of(o, expected, SPECIFIED_RATIOS),
        "dummy: always": lambda o: [True] * len(o),
        "dummy: never": lambda o: [False] * len(o),
        "dummy: every 13 weeks": lambda o: [bool((k + phase) % 13 == 0) for k in range(len(o))],
        **{name: partial(alarms_of_peer, make, expected) for name, make in known.items()},
    }
    found: dict[str, list[float]] = {}
    for name, detector in detectors.items():
        delays, false = [], 0
        for run in observed:
            phase = int(rng.integers(13))
            alarms = np.array(detector(run))
            hits = np.flatnonzero(alarms[RUN_IN:])
            delays.append(hits[0] + 1 if len(hits) else math.inf)
            false += int(alarms[:RUN_IN].sum())
        median = float(np.median(delays))
        share = float(np.mean(np.array(delays) <= 52))
        found[name] = [median if math.isfinite(median) else -1.0, share, false / (runs * RUN_IN / 52)]
    return found


def alarms_of(observed: np.ndarray, expected: float, ratios: tuple[float, ...]) -> list[bool]:
    """Alarms of the falling side, which starts anew after each."""
    state, alarms = RateState(), []
    for k, o in enumerate(observed.tolist()):
        state = watch_rate(state, START + timedelta(weeks=k), o, expected, low_ratios=ratios)
        alarms.append(state.low.detector >= THRESHOLD)
        if alarms[-1]:
            state = RateState()
    return alarms


FAULTS: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "revenue in cents": lambda f: f.with_columns(pl.col("annual_revenue") * 100),
    "a quarter of revenues in cents times ten": lambda f: f.with_columns(
        pl.when(pl.int_range(pl.len()) % 4 == 0)
        .then(pl.col("annual_revenue") * 1e6)
        .otherwise("annual_revenue")
        .alias("annual_revenue")
    ),
    "industry all null": lambda f: f.with_columns(industry=pl.lit(None, pl.String)),
    "country in other codes": lambda f: f.with_columns(pl.col("country") + "_"),
    "a column gone": lambda f: f.drop("country"),
    "a number as text": lambda f: f.with_columns(pl.col("employee_count").cast(pl.String)),
    "no rows": lambda f: f.clear(),
    "an eighth of the rows": lambda f: f.head(f.height // 8),
    "half the rows": lambda f: f.head(f.height // 2),
}


def faults(tries: int) -> dict[str, list[float]]:
    """Return for each fault the share of tries held back on the first night, and paged within three."""
    caught: dict[str, list[float]] = {name: [0.0, 0.0] for name in [*FAULTS, "half of the last weeks gone"]}
    for seed in range(tries):
        rng = np.random.default_rng([seed, 4])
        rows = daily_rows(rng, FAULT_DAY + 3, 60.0)
        frames = {day: lead_table(rng, n) for day, n in rows.items()}
        past = [profile(frame, day) for day, frame in list(frames.items())[:FAULT_DAY]]
        for name, fault in FAULTS.items():
            later = [profile(fault(frames[day]), day) for day in list(frames)[FAULT_DAY:]]
            blocked, paged = nights(past, later)
            caught[name][0] += blocked / tries
            caught[name][1] += paged / tries
        counted = {date.fromisoformat(one.day): one.rows // 2 for one in past}
        _, readings = check_integrity(
            IntegrityState(), "lead", past, date.fromisoformat(past[-1].day), recounted=counted
        )
        hit = any(reading.is_page for reading in readings) / tries
        caught["half of the last weeks gone"] = [c + hit for c in caught["half of the last weeks gone"]]
    return caught


def nights(past: list[Profile], later: list[Profile]) -> tuple[bool, bool]:
    """Whether the first faulty night is held back, and whether one of the three pages."""
    state, blocked, paged = IntegrityState(), [], False
    for k, one in enumerate(later):
        day = date.fromisoformat(one.day)
        state, readings = check_integrity(state, "lead", [*past, *later[: k + 1]], day)
        blocked.append(any(reading.is_alarm for reading in readings))
        paged |= any(reading.is_page for reading in readings)
    return blocked[0], paged


def report(results: dict, write: bool) -> None:
    """Print the tables, and put them into the document when asked to."""
    about = f"{tables.machine()}, {results['seconds']:.0f} s."
    made = {"quiet": _quiet_table, "delays": _delay_tables, "faults": _fault_table}
    for name in made.keys() & results.keys():
        text = f"{about} {made[name](results[name])}"
        print(f"\n{text}")
        if write:
            tables.write(DOCUMENT, name, text)


def _quiet_table(measured: dict[str, float]) -> str:
    quiet = dict(measured)
    years, weekly = quiet.pop("years"), quiet.pop("early wins")
    total = quiet["T1 pages"] + quiet["T2 alarms"] + quiet["T3 alarms"]
    lines = [[name, f"{value:.2f}"] for name, value in quiet.items()]
    lines.append(["**pages: T1, T2 and T3 together**", f"**{total:.2f}**"])
    said = f"{years} quiet years, {weekly:.0f} early wins a week."
    return f"{said}\n\n{tables.markdown(['a quiet year has', 'mean'], lines)}"


def _delay_tables(delays: dict[str, dict]) -> str:
    return "\n\n" + "\n\n".join(delay_table(float(fall), found) for fall, found in delays.items())


def _fault_table(shares: dict[str, list[float]]) -> str:
    rows = [[name, f"{100 * a:.0f} %", f"{100 * b:.0f} %"] for name, (a, b) in shares.items()]
    header = ["fault (60 rows a day)", "held back on the first night", "paged within three"]
    return "\n\n" + tables.markdown(header, rows)


def delay_table(fall: float, delays: dict[str, dict[str, list[float]]]) -> str:
    """Median weeks to a fall by expected early wins a week."""
    header = [
        f"median weeks to a {100 * fall:.0f} % fall (false alarms a year)",
        *(f"{mu} a week" for mu in EXPECTED),
    ]
    rows = []
    for name in delays[str(EXPECTED[0])]:
        cells = [delays[str(mu)][name] for mu in EXPECTED]
        rows.append(
            [name, *(f"{w:.0f} ({false:.3g})" if w > 0 else f"never ({false:.3g})" for w, _, false in cells)]
        )
    if fall == FALLS[0]:
        rows.insert(2, ["aim", *AIM_WEEKS])
    return tables.markdown(header, rows)


if __name__ == "__main__":
    main()
