"""The record of who became champion, when and why: `scoring.decision` and `scoring.model_pair`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import DOUBLE_PRECISION, JSONB, insert

from flows.adapters.database import Database
from flows.adapters.score_runs import ROLE
from flows.adapters.score_tables import TIME, metadata

PENDING, IN_FORCE, DONE, SHADOW = "pending", "in_force", "done", "shadow"
REFUSED, ABANDONED = "refused", "abandoned"
_MAY_FOLLOW = {
    SHADOW: (PENDING,),
    DONE: (IN_FORCE, DONE),
    REFUSED: (SHADOW,),
    ABANDONED: (PENDING, SHADOW),
}
"""How a decision may end, and after what; one in force is abandoned by `ending_lost` alone."""
MONITORS_CAUSE = "^T[0-9] "
"""How causes begin that a monitor gave; people give others."""

_decision = sa.Table(
    "decision",
    metadata,
    sa.Column("decision_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("model_key", sa.Text, nullable=False),
    sa.Column("as_of_date", sa.Date, nullable=False),
    sa.Column("decided_at", TIME, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("verdict", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("cause", sa.Text, nullable=False),
    sa.Column("reasons", JSONB, nullable=False),
    sa.Column("champion_before", sa.Text),
    sa.Column("challenger", sa.Text),
    sa.Column("champion_after", sa.Text),
    sa.Column("recipe", JSONB, nullable=False),
    sa.Column("is_new_recipe", sa.Boolean, nullable=False),
    sa.Column("checks", JSONB, nullable=False),
    sa.Column("inputs", JSONB, nullable=False),
    sa.Column("mlflow_run_id", sa.Text),
    sa.Column("finished_at", TIME),
)

_pair = sa.Table(
    "model_pair",
    metadata,
    sa.Column("model_key", sa.Text, primary_key=True),
    sa.Column("purpose", sa.Text, primary_key=True),
    sa.Column("in_use", sa.Text, nullable=False),
    sa.Column("other", sa.Text, nullable=False),
    sa.Column("since", sa.Date, nullable=False),
    sa.Column("state", JSONB, nullable=False),
    sa.Column("e_value", DOUBLE_PRECISION, nullable=False),
    sa.Column("changed_at", TIME, nullable=False),
)


@dataclass(frozen=True)
class Decision:
    """One decision about who is champion.

    Attributes
    ----------
    kind : "nightly", "search", "by_hand" or "roll_back".
    verdict : "promote", "shadow" or "refuse"; `state` is how far it has come.
    cause : why it was looked at; for a search, the reason for retraining.
    reasons : why not, in words.
    champion_before, challenger, champion_after : versions in the registry.
    recipe, is_new_recipe : how the challenger was made.
    checks, inputs : every check and everything looked at, JSON-able.
    decision_id, decided_at : given by the database.
    """

    as_of: date
    kind: str
    verdict: str
    state: str
    cause: str
    champion_before: int | None
    challenger: int | None
    champion_after: int | None = None
    reasons: Sequence[str] = ()
    recipe: Mapping[str, Any] = field(default_factory=dict)
    is_new_recipe: bool = False
    checks: Mapping[str, bool] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    mlflow_run_id: str | None = None
    decision_id: int = 0
    decided_at: datetime | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return {
            **vars(self),
            "inputs": _plain(self.inputs),
            "as_of": self.as_of.isoformat(),
            "reasons": list(self.reasons),
            "decided_at": None if self.decided_at is None else self.decided_at.isoformat(),
        }


@dataclass(frozen=True)
class Pair:
    """Evidence on two models as labels arrive.

    Attributes
    ----------
    in_use, other : versions; the evidence is that `in_use` loses more.
    since : leads created from this day on count.
    state : of the e-process, JSON-able.
    """

    in_use: int
    other: int
    since: date
    state: Mapping[str, Any] = field(default_factory=dict)
    e_value: float = 1.0


def record(database: Database, model_key: str, decision: Decision) -> int:
    """Write a decision and return its number.

    Raises
    ------
    sqlalchemy.exc.IntegrityError
        Another promotion is under way, or another challenger in the shadow.
    """
    with database.begin(ROLE) as connection:
        return connection.execute(insertion(model_key, decision)).scalar_one()


def insertion(model_key: str, decision: Decision) -> Any:
    """Build the statement that writes a decision; it returns the number."""
    own = ("as_of", "decision_id", "decided_at", "champion_before", "challenger", "champion_after")
    values = {name: value for name, value in vars(decision).items() if name not in own}
    versions = {name: _text(getattr(decision, name)) for name in own[3:]}
    is_over = decision.state in (DONE, REFUSED, ABANDONED)
    return (
        sa.insert(_decision)
        .values(
            model_key=model_key,
            as_of_date=decision.as_of,
            decided_at=sa.func.clock_timestamp(),
            finished_at=sa.func.clock_timestamp() if is_over else None,
            **{**values, "reasons": list(decision.reasons), "inputs": _plain(decision.inputs)},
            **versions,
        )
        .returning(_decision.c.decision_id)
    )


def put_in_force(decision_id: int) -> sa.Executable:
    """Put a pending decision in force: run in the transaction that publishes its scores."""
    return (
        sa.update(_decision)
        .where(_decision.c.decision_id == decision_id, _decision.c.state == PENDING)
        .values(state=IN_FORCE, champion_after=_decision.c.challenger)
    )


def ending_lost(decision_id: int, champion_after: int | None, reasons: Sequence[str]) -> sa.Executable:
    """Build the statement that abandons a decision in force whose version the registry has lost."""
    return _ending(decision_id, (IN_FORCE,), ABANDONED, champion_after, reasons)


def _ending(
    decision_id: int,
    states: Sequence[str],
    state: str,
    champion_after: int | None,
    reasons: Sequence[str],
) -> sa.Executable:
    values: dict[str, Any] = {"state": state, "champion_after": _text(champion_after)}
    values |= {"reasons": list(reasons)} if reasons else {}
    return (
        sa.update(_decision)
        .where(_decision.c.decision_id == decision_id, _decision.c.state.in_(states))
        .values(finished_at=sa.func.clock_timestamp(), **values)
    )


def finish(
    database: Database,
    decision_id: int,
    state: str,
    champion_after: int | None,
    reasons: Sequence[str] = (),
) -> None:
    """Close a decision in its final state; no reasons leave those it has.

    Raises
    ------
    RuntimeError
        Its state is not one that this end may follow: what is in force cannot be abandoned.
    """
    statement = _ending(decision_id, _MAY_FOLLOW[state], state, champion_after, reasons)
    with database.begin(ROLE) as connection:
        if connection.execute(statement).rowcount != 1:
            raise RuntimeError(
                f"decision {decision_id} cannot end as {state!r}: it is in force or has ended meanwhile;"
                " see `leadscore models decisions`"
            )


def leave_shadow(database: Database, decision_id: int, champion_before: int) -> None:
    """Let a challenger out of the shadow: its promotion waits for its scores."""
    with database.begin(ROLE) as connection:
        connection.execute(
            sa.update(_decision)
            .where(_decision.c.decision_id == decision_id)
            .values(state=PENDING, champion_before=_text(champion_before))
        )


def in_state(database: Database, model_key: str, *states: str) -> Decision | None:
    """Return the newest decision in one of these states, or None."""
    return _first(database, model_key, _decision.c.state.in_(states))


def newest(database: Database, model_key: str, limit: int = 20) -> list[Decision]:
    """Return the newest decisions, newest first."""
    with database.begin(ROLE) as connection:
        rows = connection.execute(
            sa.select(_decision)
            .where(_decision.c.model_key == model_key)
            .order_by(_decision.c.decision_id.desc())
            .limit(limit)
        ).all()
    return [_of(row) for row in rows]


def last_recipe_change(database: Database, model_key: str) -> date | None:
    """Return the night of the last promotion of a new recipe, or None."""
    is_change = sa.and_(_decision.c.is_new_recipe, _decision.c.state.in_((IN_FORCE, DONE)))
    return _night(_first(database, model_key, is_change))


def last_roll_back(database: Database, model_key: str) -> date | None:
    """Return the night of the last roll-back, or None; a later promotion by hand ends its rest."""
    is_turn = sa.and_(_decision.c.kind.in_(("roll_back", "by_hand")), _decision.c.state.in_((IN_FORCE, DONE)))
    last = _first(database, model_key, is_turn)
    return last.as_of if last is not None and last.kind == "roll_back" else None


def last_search(database: Database, model_key: str) -> date | None:
    """Return the night of the last search that a monitor asked for, or None."""
    is_search = sa.and_(_decision.c.kind == "search", _decision.c.cause.regexp_match(MONITORS_CAUSE))
    return _night(_first(database, model_key, is_search))


def searches(database: Database, model_key: str, since: date) -> list[Decision]:
    """Return the searches on nights from a date on, the oldest first."""
    with database.begin(ROLE) as connection:
        rows = connection.execute(
            sa.select(_decision)
            .where(
                _decision.c.model_key == model_key,
                _decision.c.kind == "search",
                _decision.c.as_of_date >= since,
            )
            .order_by(_decision.c.decision_id)
        ).all()
    return [_of(row) for row in rows]


def pair_of(database: Database, model_key: str, purpose: str) -> Pair | None:
    """Return the pair that is being watched for a purpose ("roll_back" or "shadow"), or None."""
    with database.begin(ROLE) as connection:
        row = connection.execute(
            sa.select(_pair).where(_pair.c.model_key == model_key, _pair.c.purpose == purpose)
        ).first()
    return None if row is None else Pair(int(row.in_use), int(row.other), row.since, row.state, row.e_value)


def keep_pair(database: Database, model_key: str, purpose: str, pair: Pair) -> None:
    """Write the evidence on a pair in place of the one before."""
    values = {
        "in_use": str(pair.in_use),
        "other": str(pair.other),
        "since": pair.since,
        "state": dict(pair.state),
        "e_value": pair.e_value,
        "changed_at": sa.func.clock_timestamp(),
    }
    statement = insert(_pair).values(model_key=model_key, purpose=purpose, **values)
    with database.begin(ROLE) as connection:
        connection.execute(
            statement.on_conflict_do_update(index_elements=["model_key", "purpose"], set_=values)
        )


def end_pair(database: Database, model_key: str, purpose: str) -> None:
    """Stop watching a pair."""
    with database.begin(ROLE) as connection:
        connection.execute(sa.delete(_pair).where(_pair.c.model_key == model_key, _pair.c.purpose == purpose))


def _first(database: Database, model_key: str, condition: sa.ColumnElement[bool]) -> Decision | None:
    with database.begin(ROLE) as connection:
        row = connection.execute(
            sa.select(_decision)
            .where(_decision.c.model_key == model_key, condition)
            .order_by(_decision.c.decision_id.desc())
            .limit(1)
        ).first()
    return None if row is None else _of(row)


def _of(row: sa.Row[Any]) -> Decision:
    values = dict(row._mapping)
    values |= {name: _number(values[name]) for name in ("champion_before", "challenger", "champion_after")}
    as_of = values.pop("as_of_date")
    for name in ("model_key", "finished_at"):
        del values[name]
    return Decision(as_of=as_of, **values)


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinity."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _night(decision: Decision | None) -> date | None:
    return None if decision is None else decision.as_of


def _text(version: int | None) -> str | None:
    return None if version is None else str(version)


def _number(version: str | None) -> int | None:
    return None if version is None else int(version)
