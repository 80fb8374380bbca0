"""Readers under load while nights are published over each other: every look is at one night, whole."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import polars as pl
import psycopg

from features.sources import Sources, conform, empty_frame
from flows.adapters.database import Database
from flows.adapters.publisher import publish
from flows.adapters.score_runs import start_run
from flows.adapters.worklist import copy_facts

KEY = "lead-conversion"
FIRST_DAY = date(2026, 5, 1)
N_NIGHTS, N_READERS, N_LEADS, N_OWNERS, N_PLACES = 12, 8, 2_000, 4, 10
FIRST_MARK = 20

# Each returns how many rows, their lowest and highest run, their lowest and highest mark.
LOOKS = {
    "prioritized_leads": """
        SELECT count(*), min(run_id), max(run_id), min(score), max(score) FROM sales.prioritized_leads
    """,
    "worklist": """
        SELECT count(*), min(run_id), max(run_id), min(score), max(score) FROM sales.worklist
    """,
    "salesforce_fields": """
        SELECT count(*), NULL, NULL, min("Lead_Score__c"), max("Lead_Score__c") FROM sales.salesforce_fields
    """,
    "msdyn_predictivescore": """
        SELECT count(*), NULL, NULL, min(msdyn_score), max(msdyn_score) FROM sales.msdyn_predictivescore
    """,
    "changed_leads": """
        SELECT count(*), NULL, NULL, min(score), max(score)
        FROM sales.changed_leads('0001-01-01') JOIN sales.prioritized_leads USING (model_key, lead_id)
    """,
    "lead_score": """
        SELECT count(*), min(pointer.run_id), max(current.run_id), min(score), max(score)
        FROM scoring.lead_score AS current JOIN scoring.score_pointer AS pointer USING (model_key, as_of_date)
    """,
}

Look = tuple[str, tuple[int | None, ...]]


def night(number: int) -> pl.DataFrame:
    """A night marked by its score, each ten leads larger than the one before; every tenth opted out."""
    row, now = pl.col("row"), datetime(2026, 5, 1, tzinfo=UTC)
    is_out, mark = row % 10 == 9, FIRST_MARK + number
    return pl.select(row=pl.int_range(N_LEADS + 10 * number)).select(
        lead_id=pl.format("L{}", row),
        owner_id=pl.format("O{}", row % N_OWNERS),
        status=pl.when(is_out).then(pl.lit("opted_out")).otherwise(pl.lit("scored")),
        probability=pl.when(~is_out).then(0.2 + 0.01 * number + row * 1e-5),
        score=pl.when(~is_out).then(pl.lit(mark, pl.Int16)),
        rank_in_owner_queue=(row // N_OWNERS + 1).cast(pl.Int32),
        model_version=pl.lit(str(mark)),
        data_as_of=pl.lit(now),
        scored_at=pl.lit(now),
    )


def whole(number: int, run_id: int) -> dict[str, tuple[int | None, ...]]:
    """What each look returns when it is at this night and nothing else."""
    n, mark = N_LEADS + 10 * number, FIRST_MARK + number
    scored, runs, marks = n * 9 // 10, (run_id, run_id), (mark, mark)
    no_runs = (None, None)
    return {
        "prioritized_leads": (scored, *runs, *marks),
        "worklist": (N_OWNERS * N_PLACES, *runs, *marks),
        "salesforce_fields": (n, *no_runs, *marks),
        "msdyn_predictivescore": (scored, *no_runs, *marks),
        "changed_leads": (scored, *no_runs, *marks),
        "lead_score": (n, *runs, *marks),
    }


@dataclass
class Reader:
    """One connection that looks again and again: at one view at a time, or at all in a transaction."""

    database: Database
    in_transactions: bool
    done: threading.Event
    sets: list[list[Look]] = field(default_factory=list)

    def run(self) -> None:
        with self.database.connect(autocommit=True) as connection:
            while not self.done.is_set():
                if self.in_transactions:
                    with connection.transaction():
                        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                        self.sets.append([look(connection, view) for view in LOOKS])
                else:
                    self.sets += ([look(connection, view)] for view in LOOKS)


def look(connection: psycopg.Connection, view: str) -> Look:
    (row,) = connection.execute(LOOKS[view]).fetchall()
    return view, row


@contextmanager
def readers_at_work(database: Database) -> Iterator[list[Reader]]:
    done = threading.Event()
    readers = [Reader(database, number % 2 == 1, done) for number in range(N_READERS)]
    threads = [threading.Thread(target=reader.run) for reader in readers]
    for thread in threads:
        thread.start()
    try:
        yield readers
    finally:
        done.set()
        for thread in threads:
            thread.join()


def put_in_force(database: Database, number: int) -> int:
    """Publish a night; each date is run twice, so that nights also replace their own date."""
    run = start_run(database, KEY, FIRST_DAY + timedelta(days=number // 2))
    publish(database, run, night(number))
    return run.run_id


def owners_at_hand(database: Database) -> None:
    rows = [{"owner_id": f"O{n}", "is_active": True, "daily_capacity": N_PLACES} for n in range(N_OWNERS)]
    owners = conform("owner", pl.concat([empty_frame("owner"), pl.DataFrame(rows)], how="diagonal_relaxed"))
    copy_facts(database, Sources.from_frames({"owner": owners}), night(0))


def test_readers_see_one_night_only(database: Database):
    owners_at_hand(database)
    runs = [put_in_force(database, 0)]
    with readers_at_work(database) as readers:
        runs += [put_in_force(database, number) for number in range(1, N_NIGHTS)]
    wholes = [whole(number, run_id) for number, run_id in enumerate(runs)]
    for reader in readers:
        nights = []
        for looks in reader.sets:
            (seen,) = {found(view, row, wholes) for view, row in looks}  # one set of looks, one night
            nights.append(seen)
        assert nights == sorted(nights)
        assert len(set(nights)) >= N_NIGHTS // 2


def found(view: str, row: tuple[int | None, ...], wholes: list[dict[str, tuple[int | None, ...]]]) -> int:
    """Number of the night that a look shows; anything but a whole one fails."""
    shown = [number for number, night in enumerate(wholes) if night[view] == row]
    assert len(shown) == 1, f"{view} showed {row}: a mixture of nights, or part of one"
    return shown[0]
