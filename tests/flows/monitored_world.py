"""A CRM of frames whose truth is known, with its published scores written straight into the history."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl

from features.delay import DelayCurve, rescore
from features.sources import Sources, as_of
from flows.adapters.database import Database

START = date(2024, 1, 1)  # a Monday
HORIZON = 60
MU, SIGMA = math.log(14), 1.2
AGES = np.concatenate([[0.0], np.geomspace(0.05, 1500, 200)])
TRUE_CURVE = DelayCurve(
    tuple(AGES.tolist()),
    (0.0, *(0.5 * math.erfc(-(math.log(a) - MU) / SIGMA / math.sqrt(2)) for a in AGES[1:])),
    {},
    10_000,
    {},
    1500.0,
    "lognormal",
)


def day(n: float) -> date:
    return START + timedelta(days=n)


def file_scores(
    database: Database, key: str, night: date, leads: Sequence[str], p: np.ndarray, version: str = "1"
) -> None:
    """File probabilities as the scores that a model's version published on a night."""
    now = datetime.combine(night, datetime.min.time(), UTC)
    with database.connect(autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS scoring.all_days PARTITION OF scoring.lead_score_history DEFAULT"
        )
        run_id = connection.execute(
            "INSERT INTO scoring.score_run (model_key, as_of_date, state, model_version)"
            " VALUES (%s, %s, 'published', %s) RETURNING run_id",
            [key, night, version],
        ).fetchone()[0]
        with (
            connection.cursor() as cursor,
            cursor.copy(
                "COPY scoring.lead_score_history (run_id, model_key, as_of_date, lead_id, status,"
                " probability, model_version, data_as_of, scored_at) FROM STDIN"
            ) as copy,
        ):
            for lead, q in zip(leads, p, strict=True):
                copy.write_row((run_id, key, night, lead, "scored", float(q), version, now, now))


@dataclass(frozen=True)
class World:
    """Leads by creation in days since START, their chance to win at all, and when a win is known (inf)."""

    created: np.ndarray
    p: np.ndarray
    won_at: np.ndarray
    sources: Sources

    def at(self, night: int) -> Sources:
        return as_of(self.sources, day(night))

    def publish(self, database: Database, key: str, nights: list[int], max_age: float = 60.0) -> None:
        """File the scores of some nights: the true chance to win within the horizon of every open lead."""
        for night in nights:
            who, p = self._scores(night, max_age)
            file_scores(database, key, day(night), [f"L{i}" for i in who], p)

    def _scores(self, night: int, max_age: float) -> tuple[np.ndarray, np.ndarray]:
        age = night - self.created
        is_open = (age > 0) & (age <= max_age) & (self.won_at >= night)
        age, p = age[is_open], self.p[is_open]
        late = rescore(p, TRUE_CURVE(age))
        share = TRUE_CURVE.window_share(age, np.inf, 1e9)  # all that is still to come
        coming = (TRUE_CURVE(age + HORIZON) - TRUE_CURVE(age)) / np.maximum(1 - TRUE_CURVE(age), 1e-12)
        return np.flatnonzero(is_open), np.clip(late * coming * share, 1e-6, 1 - 1e-6)


def make_world(
    seed: int, n_days: int, per_day: float = 25.0, fall_at: int | None = None, fall: float = 0.5
) -> World:
    """Leads that come evenly on weekdays; from the day `fall_at` on a share `fall` of wins stays away."""
    rng = np.random.default_rng(seed)
    rate = per_day * np.where(np.arange(n_days) % 7 < 5, 1.2, 0.5)
    born = np.repeat(np.arange(n_days), rng.poisson(rate))
    n = len(born)
    created = born + rng.uniform(0, 1, n)
    p = rng.beta(1.2, 10.8, n)
    won_at = np.where(rng.random(n) < p, created + np.exp(rng.normal(MU, SIGMA, n)), np.inf)
    if fall_at is not None:
        won_at[(won_at >= fall_at) & (rng.random(n) < fall)] = np.inf
    return World(created, p, won_at, _sources(rng, created, won_at))


def _sources(rng: np.random.Generator, created: np.ndarray, won_at: np.ndarray) -> Sources:
    n = len(created)
    start = datetime.combine(START, datetime.min.time(), UTC)
    born = [start + timedelta(days=float(c)) for c in created]
    ids = [f"L{i}" for i in range(n)]
    lead = pl.DataFrame(
        {
            "lead_id": ids,
            "created_at": born,
            "known_at": born,
            "owner_id": "O1",
            "account_id": [f"A{i}" for i in range(n)],
            "lead_source": rng.choice(["web", "fair", "ads"], n),
            "title": [None if r < 0.1 else f"title {i % 500}" for i, r in enumerate(rng.random(n))],
            "industry": [None if r < 0.2 else str(c) for r, c in zip(
                rng.random(n), rng.choice(["software", "retail", "health"], n), strict=True)],
            "country": rng.choice(["DE", "US", "FR"], n),
            "employee_count": np.floor(np.exp(rng.normal(4, 1.5, n))) + 1,
            "annual_revenue": np.exp(rng.normal(14, 2, n)),
            "email_domain": None,
            "removed_at": None,
            "attrs": None,
        }
    )  # fmt: skip
    won = np.flatnonzero(np.isfinite(won_at) & (won_at < 4000))
    moments = [start + timedelta(days=float(w)) for w in won_at[won]]
    outcome = pl.DataFrame(
        {
            "lead_id": [f"L{i}" for i in won],
            "outcome": "converted",
            "outcome_at": moments,
            "known_at": moments,
            "is_conversion": True,
            "amount": 100.0,
            "currency": "EUR",
            "opportunity_id": None,
        }
    )
    return Sources.from_frames({"lead": lead, "outcome": outcome})
