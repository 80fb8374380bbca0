"""Track record group: how leads of the same source, and of the same owner, turned out before."""

from datetime import timedelta

import polars as pl

from features.fields import value_at
from features.ledger import book, read
from features.outcomes import first_known
from features.sources import Sources
from features.spine import KEYS

GROUPS = {"source": "lead_source", "owner": "owner_id"}
# Conversion age in days, and how long a cohort is remembered: the short one follows a change of rate within
# weeks.
COHORTS = ((30, 180), (90, 365))
PSEUDO_LEADS = 20


def track_record(sources: Sources, spine: pl.DataFrame) -> pl.DataFrame:
    """Return smoothed conversion rates of source and owner, from labels known at the snapshot.

    The rate at age 30 (90) covers leads created 30 to 210 (90 to 455) days before the snapshot, and counts
    conversions within 30 (90) days of creation that were known at it: whole cohorts, so that open leads are
    no false negatives. It is drawn to the rate over all leads with the weight of 20 leads: (won + 20 overall)
    / (n + 20); null before any cohort is of age. A lead counts for the owner and source it had when it came
    of age.
    """
    columns = [spine.select(KEYS)]
    shown = {name: value_at(sources, "lead", field, spine).fill_null("") for name, field in GROUPS.items()}
    for age_days, memory_days in COHORTS:
        cohort = _cohort(sources, age_days, memory_days)
        overall = _totals(
            cohort.with_columns(group=pl.lit("")), spine, pl.repeat("", spine.height, eager=True)
        )
        for name, field in GROUPS.items():
            groups = value_at(sources, "lead", field, cohort.rename({"of_age": "snapshot_date"})).fill_null(
                ""
            )
            totals = _totals(cohort.with_columns(group=groups), spine, shown[name])
            columns.append(_rate(totals, overall, f"track_record_{name}", age_days))
    return pl.concat(columns, how="horizontal")


def _cohort(sources: Sources, age_days: int, memory_days: int) -> pl.DataFrame:
    """Each lead's span in the cohort, and the first snapshot at which its conversion in time is known."""
    created, day = pl.col("created_at"), timedelta(days=1)
    of_age = created.dt.date() + timedelta(days=age_days + 1)
    in_time = (pl.col("outcome_at") >= created) & (pl.col("outcome_at") < created + timedelta(days=age_days))
    wins = first_known(sources, is_conversion=True)
    return sources.lead.join(wins, on="lead_id", how="left").select(
        "lead_id",
        of_age=of_age,
        start=pl.max_horizontal(of_age, pl.col("known_at").dt.date() + day),
        end=pl.min_horizontal(of_age + timedelta(days=memory_days), pl.col("removed_at").dt.date() + day),
        won_from=pl.when(in_time).then(pl.col("known_day") + day),
        amount=pl.lit(1),
    )


def _totals(cohort: pl.DataFrame, spine: pl.DataFrame, groups: pl.Series) -> pl.DataFrame:
    won = cohort.drop_nulls("won_from").with_columns(start=pl.max_horizontal("start", "won_from"))
    keys = spine.select("snapshot_date", group=groups)
    return read([book(cohort, "group", "n"), book(won, "group", "won")], "group", keys)


def _rate(totals: pl.DataFrame, overall: pl.DataFrame, prefix: str, age_days: int) -> pl.DataFrame:
    both = pl.concat([totals, overall.rename({"n": "n_all", "won": "won_all"})], how="horizontal")
    prior = pl.col("won_all") / pl.col("n_all")
    rate = (pl.col("won") + PSEUDO_LEADS * prior) / (pl.col("n") + PSEUDO_LEADS)
    return both.select(
        pl.col("n").alias(f"{prefix}_lead_count_{age_days}d"),
        pl.when(pl.col("n_all") > 0).then(rate).alias(f"{prefix}_rate_{age_days}d"),
    )
