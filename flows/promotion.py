"""Promotion and roll-back: scores and champion change together, and a crash anywhere leaves one of both.

Two stores take part. Postgres decides: one transaction puts the scores and the decision in force. The
registry's alias follows. A decision is

    pending    before its scores are published; if nobody is at work on it any more, it is abandoned;
    in force   from that transaction on; the alias follows at once, or at the start of the next command;
    done       when the alias has followed.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import sqlalchemy as sa

from flows.adapters import decisions, score_runs
from flows.adapters.database import Database
from flows.adapters.decisions import Decision, Pair
from flows.adapters.registry import CHALLENGER, ModelVersion, Registry, RegistryError

WATCHED_DAYS = 91
"""A promotion that has stood so long has proved itself; the next one is watched from its own day on."""


def repair(database: Database, registry: Registry, model_key: str) -> str | None:
    """End what a crash has left half done, and say what that was; None where nothing was.

    The caller holds the lock of `database.exclusive`, so nobody is at work on it.
    """
    found = decisions.in_state(database, model_key, decisions.PENDING, decisions.IN_FORCE)
    if found is None:
        return None
    if found.state == decisions.PENDING:
        if found.verdict == "shadow":  # its turn comes again
            decisions.finish(database, found.decision_id, decisions.SHADOW, found.champion_before)
        else:
            abandon(database, registry, found, ["its night ended before its scores were published"])
        return f"version {found.challenger} was about to become champion and its scores were never published"
    try:
        complete(database, registry, model_key, found)
    except RegistryError as error:
        return _without(database, model_key, found, error)
    return f"version {found.challenger} is in force; the registry has followed"


def _without(database: Database, model_key: str, decision: Decision, error: RegistryError) -> str:
    """Go back to the champion that still is one: the version in force has been lost since."""
    before = decision.champion_before
    ending = decisions.ending_lost(decision.decision_id, before, [f"the registry has lost it: {error}"])
    put_back = score_runs.put_back_scores_of(database, model_key, str(before), also=[ending])
    scores = "and rescores with the next night" if put_back is None else f"with its scores of {put_back[1]}"
    return (
        f"version {decision.challenger} was to be champion and is gone from the registry: {error}; version"
        f" {before} stays champion, {scores}"
    )


def complete(database: Database, registry: Registry, model_key: str, decision: Decision) -> ModelVersion:
    """Let the registry follow a decision that is in force, and end what it ends; again is harmless."""
    if decision.challenger is None:
        raise ValueError(f"decision {decision.decision_id} names no version to promote")
    if decision.kind == "roll_back":
        version = registry.rollback(decision.cause, decision.challenger)
        _turn_back(database, registry, model_key, version.version)
    else:
        version = registry.promote(decision.challenger, decision.cause)
        _follow(database, model_key, decision)
    if decision.kind != "nightly":  # a refit is the champion that the shadow is compared with, only younger
        _end_shadow(database, registry, model_key)
    _close(database, registry, decision, decisions.DONE, decision.challenger)
    return version


def abandon(database: Database, registry: Registry, decision: Decision, reasons: Sequence[str]) -> None:
    """Close a decision that never came into force; the champion before stays."""
    told = replace(decision, reasons=[*decision.reasons, *reasons])
    _close(database, registry, told, decisions.ABANDONED, decision.champion_before)


def promote(database: Database, registry: Registry, model_key: str, decision: Decision) -> ModelVersion:
    """Make a version champion without publishing scores: the next night scores with it."""
    chosen = replace(decision, state=decisions.IN_FORCE, champion_after=decision.challenger)
    number = decisions.record(database, model_key, chosen)
    return complete(database, registry, model_key, replace(chosen, decision_id=number))


def intend(database: Database, model_key: str, decision: Decision) -> Decision:
    """Record a promotion that waits for its scores; `in_force` goes with them, `complete` after them."""
    pending = replace(decision, state=decisions.PENDING)
    return replace(pending, decision_id=decisions.record(database, model_key, pending))


def in_force(decision: Decision | None) -> list[sa.Executable]:
    """Statements for the transaction that publishes the scores of a pending promotion."""
    return [] if decision is None else [decisions.put_in_force(decision.decision_id)]


def settle(database: Database, registry: Registry, model_key: str, decision: Decision | None) -> None:
    """Put a pending promotion in force without scores: the next night scores with it.

    Raises
    ------
    RuntimeError : it waits no more; the champion stays.
    """
    if decision is None:
        return
    with database.begin(score_runs.ROLE) as connection:
        if connection.execute(decisions.put_in_force(decision.decision_id)).rowcount != 1:
            raise RuntimeError(
                f"version {decision.challenger} is not promoted: another command has ended decision"
                f" {decision.decision_id} while this one had lost its lock; the champion stays; run again"
            )
    complete(database, registry, model_key, decision)


def refuse(
    database: Database, registry: Registry, model_key: str, decision: Decision, state: str = decisions.REFUSED
) -> Decision:
    """Record a decision that leaves the champion where it is; the challenger keeps its alias to look at.

    Parameters
    ----------
    state : `decisions.REFUSED`, or `decisions.SHADOW` for a challenger to be watched.
    """
    chosen = replace(decision, state=state, champion_after=decision.champion_before)
    chosen = replace(chosen, decision_id=decisions.record(database, model_key, chosen))
    if decision.challenger is not None:
        registry.set_alias(CHALLENGER, decision.challenger)
    _tell(registry, chosen)
    return chosen


def fail_shadow(
    database: Database, registry: Registry, model_key: str, decision: Decision, reasons: Sequence[str]
) -> None:
    """Refuse a challenger for what was seen in the shadow."""
    told = replace(decision, reasons=[*decision.reasons, *reasons])
    _close(database, registry, told, decisions.REFUSED, decision.champion_before)
    decisions.end_pair(database, model_key, "shadow")


def roll_back(
    database: Database,
    registry: Registry,
    model_key: str,
    as_of: date,
    cause: str,
    to: int | None = None,
) -> tuple[ModelVersion, tuple[int, date] | None]:
    """Make an earlier champion the champion again, with its last scores.

    Parameters
    ----------
    as_of : the night it happens on.
    to : version to go back to; None takes the previous champion.

    Returns
    -------
    the champion, and the run and date of its scores, now in force; None where none of them are kept: then the
    published ones stay until the next night.

    Raises
    ------
    RegistryError : `to` is no earlier champion, or there is none.
    """
    unfinished = decisions.in_state(database, model_key, decisions.IN_FORCE)
    repair(database, registry, model_key)
    version = None if unfinished is None or unfinished.kind != "roll_back" else unfinished.challenger
    if version is not None and to in (None, version):  # stopped between its two steps: once back is meant
        return registry.show(version), score_runs.put_back_scores_of(database, model_key, str(version))
    history = registry.champion_history()
    earlier = registry.earlier_champion(to)
    decision = Decision(
        as_of,
        "roll_back",
        "promote",
        decisions.IN_FORCE,
        cause,
        champion_before=history[-1] if history else None,
        challenger=earlier,
        champion_after=earlier,
    )
    found = score_runs.put_back_scores_of(
        database, model_key, str(earlier), also=[decisions.insertion(model_key, decision)]
    )
    repair(database, registry, model_key)
    return registry.show(earlier), found


def _follow(database: Database, model_key: str, decision: Decision) -> None:
    """Watch the promotion; refits of the recipe in use go on with the evidence on the first of them."""
    if decision.challenger is None or decision.champion_before in (None, decision.challenger):
        return
    pair = decisions.pair_of(database, model_key, "roll_back")
    is_old = pair is not None and (decision.as_of - pair.since).days > WATCHED_DAYS
    is_new = decision.is_new_recipe or decision.kind == "by_hand"
    if pair is None or is_old or (is_new and pair.in_use != decision.challenger):
        pair = Pair(decision.challenger, decision.champion_before, decision.as_of)
    decisions.keep_pair(database, model_key, "roll_back", replace(pair, in_use=decision.challenger))


def _turn_back(database: Database, registry: Registry, model_key: str, champion: int) -> None:
    """Go on watching a promotion where only a refit of it is taken back; the champion is its refit before."""
    pair = decisions.pair_of(database, model_key, "roll_back")
    if pair is not None and pair.other in registry.champion_history()[:-1]:
        decisions.keep_pair(database, model_key, "roll_back", replace(pair, in_use=champion))
    else:
        decisions.end_pair(database, model_key, "roll_back")


def _end_shadow(database: Database, registry: Registry, model_key: str) -> None:
    """A challenger was compared with another champion: its candidacy is over."""
    found = decisions.in_state(database, model_key, decisions.SHADOW)
    if found is not None:
        abandon(database, registry, found, ["another champion than the one it was compared with"])
    decisions.end_pair(database, model_key, "shadow")


def _close(
    database: Database, registry: Registry, decision: Decision, state: str, champion_after: int | None
) -> None:
    """Close a decision, after its copy in the registry: one that a crash left open is closed again."""
    _tell(registry, replace(decision, state=state, champion_after=champion_after))
    decisions.finish(database, decision.decision_id, state, champion_after, decision.reasons)


def _tell(registry: Registry, decision: Decision) -> None:
    """Leave a copy of a decision with the run of the version that it is about; none where that is gone."""
    version = decision.challenger or decision.champion_after
    if version is None:
        return
    with contextlib.suppress(RegistryError):
        run_id = registry.show(version).run_id
        registry.attach_json(run_id, f"decisions/{decision.decision_id}.json", decision.as_dict())
