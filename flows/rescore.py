"""Score a few leads between two nights, with what became known since, without Prefect and MLflow."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import polars as pl

from features.build import build
from features.sources import Sources, as_of, midnight
from features.spine import spine
from flows.exclusion import NO_RULES
from flows.lead_model import LeadModel
from flows.scoring import score_open_leads

CLOSED, EXCLUDED, UNKNOWN = "closed", "excluded", "unknown"
COLUMNS = ("status", "probability", "score", "grade", "reasons", "reason_1", "reason_2", "reason_3")


@dataclass(frozen=True)
class Moment:
    """When leads are scored: what was known before an instant counts as it will for the next night.

    Attributes
    ----------
    known_before : that instant.
    snapshot_date : the midnight that follows it: features are cut at midnights.
    """

    known_before: datetime
    snapshot_date: date


def moment(clock: date | None, now: datetime) -> Moment:
    """Return now; where the data has a clock of its own, the end of its day.

    Parameters
    ----------
    clock : the day that counts as today, of data that is not live.
    now : UTC.
    """
    today = clock or now.astimezone(UTC).date()
    next_day = today + timedelta(days=1)
    return Moment(now if clock is None else midnight(next_day), next_day)


def rescore(
    model: LeadModel,
    model_version: str,
    sources: Sources,
    lead_ids: Sequence[str],
    at: Moment,
    max_age_days: int,
    rules: pl.DataFrame = NO_RULES,
) -> pl.DataFrame:
    """Score leads as the next night would if nothing more happened.

    Parameters
    ----------
    sources : as known at `at`, with every event of these leads and of their accounts.
    rules : of exclusion, as for a night.

    Returns
    -------
    DataFrame
        lead_id, status, probability, score, grade, reasons, reason_1 to reason_3: one row per lead asked for,
        in that order. Beside the statuses of a night there is `unknown`: the CRM has no such lead, or it was
        erased.
    """
    asked = pl.DataFrame({"lead_id": list(dict.fromkeys(lead_ids))})
    known, day = as_of(sources, at.snapshot_date), at.snapshot_date
    rows = spine(known, [day], max_age_days=max_age_days).join(asked, on="lead_id", how="semi")
    frame = build(known, rows, model.encoding.attr_kinds)
    scores = score_open_leads(model, frame, known, day, model_version, at.known_before, rules)
    answers = asked.join(scores.select("lead_id", *COLUMNS), on="lead_id", how="left", maintain_order="left")
    return answers.with_columns(status=pl.coalesce("status", _status_of_the_rest(known)))


def wake(model: LeadModel) -> None:
    """Load the kernels that scoring calls, by asking the model about a lead of which nothing is known."""
    blank = pl.DataFrame(
        {
            name: pl.Series([None], dtype=pl.String if is_category else pl.Float64)
            for name, is_category in model.encoding.kinds()
        }
    )
    model.predict_proba(blank)
    model.contributions(blank)


def _status_of_the_rest(known: Sources) -> pl.Expr:
    """Why a lead is not open: closed, gone or too old, or not in the CRM at all."""
    is_closed = pl.col("lead_id").is_in(known.outcome["lead_id"].implode())
    is_known = pl.col("lead_id").is_in(known.lead["lead_id"].implode())
    rest = pl.when(is_known & is_closed).then(pl.lit(CLOSED)).when(is_known).then(pl.lit(EXCLUDED))
    return rest.otherwise(pl.lit(UNKNOWN))
