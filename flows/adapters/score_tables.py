"""Tables of schema `scoring` for SQLAlchemy, and the queries over them."""

from datetime import date
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import DOUBLE_PRECISION, JSONB, TIMESTAMP, insert

metadata = sa.MetaData(schema="scoring")
TIME = TIMESTAMP(timezone=True)

REQUIRED_COLUMNS = ("lead_id", "status", "probability", "score", "model_version", "data_as_of", "scored_at")
ROLE = "score_writer"
WERE_IN_FORCE = ("published", "superseded")
STEADY_POINTS = 2  # a score that moves by no more than this is called steady


def _score_columns() -> list[sa.Column[Any]]:
    """Columns of one score, in the order of the tables."""
    return [
        sa.Column("run_id", sa.BigInteger, nullable=False),
        sa.Column("model_key", sa.Text, nullable=False),
        sa.Column("as_of_date", sa.Date, nullable=False),
        sa.Column("lead_id", sa.Text, nullable=False),
        sa.Column("owner_id", sa.Text),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("probability", DOUBLE_PRECISION),
        sa.Column("score", sa.SmallInteger),
        sa.Column("grade", sa.Text),
        sa.Column("rank_in_owner_queue", sa.Integer),
        sa.Column("rank_overall", sa.Integer),
        sa.Column("percentile", DOUBLE_PRECISION),
        sa.Column("expected_value", DOUBLE_PRECISION),
        sa.Column("currency", sa.Text),
        sa.Column("previous_score", sa.SmallInteger),
        sa.Column("delta", sa.SmallInteger),
        sa.Column("trend", sa.Text),
        sa.Column("delta_data", DOUBLE_PRECISION),
        sa.Column("delta_decay", DOUBLE_PRECISION),
        sa.Column("delta_model", DOUBLE_PRECISION),
        sa.Column("reasons", JSONB),
        sa.Column("reason_1", sa.Text),
        sa.Column("reason_2", sa.Text),
        sa.Column("reason_3", sa.Text),
        sa.Column("confidence", DOUBLE_PRECISION),
        sa.Column("model_version", sa.Text, nullable=False),
        sa.Column("mapping_version", sa.Text),
        sa.Column("data_as_of", TIME, nullable=False),
        sa.Column("scored_at", TIME, nullable=False),
        sa.Column("valid_until", TIME),
        sa.Column("status_reason", sa.Text),
        sa.Column("tier", sa.Text),
    ]


lead_score = sa.Table("lead_score", metadata, *_score_columns())
lead_score_published = sa.Table("lead_score_published", metadata, *_score_columns())
lead_score_history = sa.Table("lead_score_history", metadata, *_score_columns())
candidate = sa.Table("candidate", sa.MetaData(), *_score_columns())  # the staging table of one session

score_run = sa.Table(
    "score_run",
    metadata,
    sa.Column("run_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("model_key", sa.Text, nullable=False),
    sa.Column("as_of_date", sa.Date, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("started_at", TIME, nullable=False),
    sa.Column("published_at", TIME),
    sa.Column("finished_at", TIME),
    sa.Column("model_version", sa.Text),
    sa.Column("row_count", sa.BigInteger),
    sa.Column("counts", JSONB, nullable=False),
    sa.Column("checks", JSONB, nullable=False),
    sa.Column("inputs", JSONB, nullable=False),
    sa.Column("error", sa.Text),
)

score_pointer = sa.Table(
    "score_pointer",
    metadata,
    sa.Column("model_key", sa.Text, primary_key=True),
    sa.Column("run_id", sa.BigInteger, nullable=False),
    sa.Column("as_of_date", sa.Date, nullable=False),
    sa.Column("moved_at", TIME, nullable=False),
    sa.Column("moved_by", sa.Text, nullable=False),
)

SCORE_COLUMNS = tuple(column.name for column in lead_score.columns)


def new_run(model_key: str, as_of: date, inputs: dict[str, Any]) -> sa.Executable:
    """Insert a running run; returns its number and start."""
    values = {"model_key": model_key, "as_of_date": as_of, "inputs": inputs}
    return sa.insert(score_run).values(values).returning(score_run.c.run_id, score_run.c.started_at)


def bury_running_runs(model_key: str) -> sa.Executable:
    """Mark runs that never ended as killed; returns their dates."""
    return (
        sa.update(score_run)
        .where(score_run.c.model_key == model_key, score_run.c.state == "running")
        .values(state="killed", finished_at=sa.func.clock_timestamp())
        .returning(score_run.c.as_of_date)
    )


def change_run(run_id: int, **values: Any) -> sa.Executable:
    """Set columns of one run."""
    return sa.update(score_run).where(score_run.c.run_id == run_id).values(**values)


def state_of(run_id: int) -> sa.Select[tuple[str]]:
    """Return a run's state, which nobody changes before this transaction ends."""
    return sa.select(score_run.c.state).where(score_run.c.run_id == run_id).with_for_update()


def supersede(model_key: str, as_of: date) -> sa.Executable:
    """Take the published run of a date out of force."""
    return (
        sa.update(score_run)
        .where(
            score_run.c.model_key == model_key,
            score_run.c.as_of_date == as_of,
            score_run.c.state == "published",
        )
        .values(state="superseded")
    )


def point_to(model_key: str, run_id: int, as_of: date) -> sa.Executable:
    """Put a run in force."""
    statement = insert(score_pointer).values(model_key=model_key, run_id=run_id, as_of_date=as_of)
    return statement.on_conflict_do_update(
        index_elements=[score_pointer.c.model_key],
        set_={
            "run_id": run_id,
            "as_of_date": as_of,
            "moved_at": sa.func.clock_timestamp(),
            "moved_by": sa.func.session_user(type_=sa.Text),
        },
    )


def notify_published(run_id: int) -> sa.Executable:
    """Tell listeners of `lead_scores_published`; they hear it at commit."""
    return sa.select(sa.func.pg_notify("lead_scores_published", str(run_id)))


def run_before(model_key: str, as_of: date) -> sa.Select[tuple[int, date]]:
    """The newest published run of an earlier date: run_id and as_of_date."""
    return (
        sa.select(score_run.c.run_id, score_run.c.as_of_date)
        .where(
            score_run.c.model_key == model_key,
            score_run.c.as_of_date < as_of,
            score_run.c.state == "published",
        )
        .order_by(score_run.c.as_of_date.desc())
        .limit(1)
    )


def scores_of(run_id: int, as_of: date) -> sa.Select[Any]:
    """History of one run, all columns."""
    return sa.select(lead_score_history).where(
        lead_score_history.c.as_of_date == as_of, lead_score_history.c.run_id == run_id
    )


def lock(what: str) -> sa.Select[Any]:
    """Let one session at a time through, until the end of its transaction."""
    return sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended("leadscore " + what, 0)))


def publish_candidate(before_run_id: int | None, before: date | None) -> sa.Insert:
    """Copy the staged rows to `lead_score_published`, with what changed since an earlier run."""
    earlier = scores_of(before_run_id, before).subquery() if before_run_id and before else None
    previous = earlier.c.score if earlier is not None else sa.cast(sa.null(), sa.SmallInteger)
    delta = candidate.c.score - previous
    trend = sa.case(
        (candidate.c.score.is_(None), None),
        (delta.is_(None), "new"),
        (delta > STEADY_POINTS, "rising"),
        (delta < -STEADY_POINTS, "falling"),
        else_="steady",
    )
    changes = {"previous_score": previous, "delta": delta, "trend": trend}
    rows = sa.select(*(changes.get(column.name, column) for column in candidate.columns))
    if earlier is not None:
        rows = rows.select_from(candidate.outerjoin(earlier, candidate.c.lead_id == earlier.c.lead_id))
    return sa.insert(lead_score_published).from_select(list(SCORE_COLUMNS), rows)


def history_partition(name: str) -> sa.Table:
    """One day's partition of the history."""
    return lead_score_history.to_metadata(sa.MetaData(), name=name)


def append_run(partition: sa.Table, run_id: int) -> sa.Insert:
    """Copy a published run to a partition of the history."""
    rows = sa.select(lead_score_published).where(lead_score_published.c.run_id == run_id)
    return sa.insert(partition).from_select(list(SCORE_COLUMNS), rows)


def delete_old_runs(model_key: str, kept: int) -> sa.Delete:
    """Delete the scores of runs too old to fall back to.

    Left are the one in force, the newest `kept`, and as many of those that another model's run of the same
    date replaced: they are the last of their model, and no history has them.
    """
    later = score_run.alias()
    is_last = ~sa.exists().where(
        later.c.model_key == score_run.c.model_key,
        later.c.model_version == score_run.c.model_version,
        later.c.state.in_(WERE_IN_FORCE),
        later.c.run_id > score_run.c.run_id,
    )
    of_model = sa.select(score_run.c.run_id).where(score_run.c.model_key == model_key)
    newest, replaced = (
        of_model.where(wanted).order_by(score_run.c.published_at.desc()).limit(kept)
        for wanted in (score_run.c.state == "published", sa.and_(score_run.c.state == "superseded", is_last))
    )
    in_force = sa.select(score_pointer.c.run_id).where(score_pointer.c.model_key == model_key)
    return sa.delete(lead_score_published).where(
        lead_score_published.c.model_key == model_key,
        lead_score_published.c.run_id.not_in(newest),
        lead_score_published.c.run_id.not_in(replaced),
        lead_score_published.c.run_id.not_in(in_force),
    )


def runs_of_version(model_key: str, model_version: str) -> sa.Executable:
    """Runs of a model version that were in force once and whose scores are kept, newest date first.

    Columns run_id, as_of_date, state and is_at_hand: among the published scores, else only in the history.
    """
    at_hand = sa.exists().where(lead_score_published.c.run_id == score_run.c.run_id)
    in_history = sa.exists().where(
        lead_score_history.c.as_of_date == score_run.c.as_of_date,
        lead_score_history.c.run_id == score_run.c.run_id,
    )
    return (
        sa.select(score_run.c.run_id, score_run.c.as_of_date, score_run.c.state, at_hand.label("is_at_hand"))
        .where(
            score_run.c.model_key == model_key,
            score_run.c.model_version == model_version,
            score_run.c.state.in_(WERE_IN_FORCE),
            sa.or_(at_hand, in_history),
        )
        .order_by(score_run.c.as_of_date.desc(), score_run.c.run_id.desc())
    )


def bring_back(run_id: int, as_of: date) -> sa.Insert:
    """Copy a run from the history to the published scores."""
    return sa.insert(lead_score_published).from_select(list(SCORE_COLUMNS), scores_of(run_id, as_of))


def versions_at_hand(model_key: str) -> sa.Select[tuple[str]]:
    """Model versions of the runs among the published scores."""
    at_hand = sa.exists().where(lead_score_published.c.run_id == score_run.c.run_id)
    return sa.select(score_run.c.model_version).where(score_run.c.model_key == model_key, at_hand).distinct()


def newest_date(model_key: str) -> sa.Select[tuple[date]]:
    """The newest date of a published run."""
    return sa.select(sa.func.max(score_run.c.as_of_date)).where(
        score_run.c.model_key == model_key, score_run.c.state == "published"
    )


def current_run(model_key: str) -> sa.Executable:
    """The run in force: run_id and as_of_date."""
    return sa.select(score_pointer.c.run_id, score_pointer.c.as_of_date).where(
        score_pointer.c.model_key == model_key
    )
