"""A rep's list at a million leads: milliseconds per query, seconds to deal leads to owners at publication.

    python benchmarks/worklist.py --leads 1000000 --write

The rows are made by SQL. Owners are asked for in random order, each once, by one connection; times are those
of the client, from sending the query to having its rows. Half of the leads have an account, a fifth were
touched in the last ten days, 1,000 are hidden or put at a place by people.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import psycopg
from own_home import own_home
from tables import machine, markdown, write

N_QUERIES = 200
GUIDE = Path(__file__).parents[1] / "docs" / "guides" / "worklist.md"
KEY = "lead-conversion"
MAKE_OWNERS = """
INSERT INTO scoring.owner
SELECT 'O' || n, 'T' || n %% 40, n %% 50 <> 0, 15 + n %% 35, CASE WHEN n %% 30 = 1 THEN date '2026-05-09' END
FROM generate_series(1, %(owners)s) AS n
"""
MAKE_SCORES = """
INSERT INTO scoring.lead_score_published (
    run_id, model_key, as_of_date, lead_id, owner_id, status, tier, probability, score, grade, expected_value,
    currency, reason_1, reason_2, reason_3, model_version, data_as_of, scored_at
)
SELECT
    %(run)s, 'lead-conversion', '2026-05-04', 'L' || n,
    CASE WHEN n %% 20 <> 0 THEN 'O' || 1 + n %% %(owners)s END, 'scored', 'own_model', p, 100 * p, 'B',
    p * 1000 * (1 + n %% 37), 'EUR', 'Opened the pricing page 4 times in 7 days; usual is 0',
    'Replied to an e-mail yesterday', 'Works in a company of 500 people', '7', now(), now()
FROM generate_series(1, %(leads)s) AS n
CROSS JOIN LATERAL (SELECT 0.001 + 0.4 * scoring.draw('p' || n) ^ 4 AS p) AS drawn
"""
MAKE_TOUCHES = """
INSERT INTO scoring.lead_touch
SELECT
    'L' || n, CASE WHEN n %% 2 = 0 THEN 'A' || n %% (%(leads)s / 8) END,
    CASE WHEN n %% 5 < 3 THEN timestamptz '2026-05-04 00:00+00' - n %% 50 * interval '1 day' END,
    timestamptz '2026-05-04 00:00+00' - n %% 50 * interval '1 day'
FROM generate_series(1, %(leads)s) AS n
"""
MAKE_OVERRIDES = """
INSERT INTO sales.lead_override (lead_id, position, hidden_until, reason, expires_on)
SELECT
    'L' || n * 97, CASE WHEN n %% 2 = 0 THEN 1 + n %% 9 END, CASE WHEN n %% 2 = 1 THEN date '2026-06-01' END,
    'asked for', '2026-06-01'
FROM generate_series(1, 1000) AS n
"""
QUERY = "SELECT * FROM sales.worklist WHERE model_key = %s AND owner_id = %s ORDER BY place"


def fill(connection: psycopg.Connection, n_leads: int, n_owners: int) -> float:
    """Make the tables and put them in force; returns the seconds that dealing out took."""
    run = connection.execute(
        "INSERT INTO scoring.score_run (model_key, as_of_date, state, published_at)"
        " VALUES (%s, '2026-05-04', 'published', now()) RETURNING run_id",
        [KEY],
    ).fetchall()[0][0]
    values = {"run": run, "leads": n_leads, "owners": n_owners}
    for statement in (MAKE_OWNERS, MAKE_SCORES, MAKE_TOUCHES, MAKE_OVERRIDES):
        connection.execute(statement, values)
    connection.execute("VACUUM ANALYZE")
    start = time.perf_counter()
    connection.execute(
        "INSERT INTO scoring.score_pointer (model_key, run_id, as_of_date) VALUES (%s, %s, '2026-05-04')",
        [KEY, run],
    )
    seconds = time.perf_counter() - start
    connection.execute("VACUUM ANALYZE")
    return seconds


def ask(connection: psycopg.Connection, n_owners: int) -> tuple[np.ndarray, np.ndarray]:
    """Milliseconds and rows of each query."""
    owners = np.random.default_rng(7).permutation(n_owners)[:N_QUERIES] + 1
    milliseconds, n_rows = [], []
    for owner in owners:
        start = time.perf_counter()
        rows = connection.execute(QUERY, [KEY, f"O{owner}"]).fetchall()
        milliseconds.append(1000 * (time.perf_counter() - start))
        n_rows.append(len(rows))
    return np.array(milliseconds), np.array(n_rows)


def plan(connection: psycopg.Connection) -> str:
    """EXPLAIN ANALYZE of one query."""
    rows = connection.execute("EXPLAIN (ANALYZE, BUFFERS) " + QUERY, [KEY, "O17"]).fetchall()
    return "\n".join(line for (line,) in rows)


def measure(n_leads: int, n_owners: int, shows_plan: bool) -> list[object]:
    """One row of the table."""
    from flows.adapters.database import open_database
    from flows.adapters.migrations import migrate
    from flows.adapters.settings import Settings

    with own_home() as home, open_database(Settings(home=home, database_url=None)) as database:
        migrate(database)
        with database.connect(autocommit=True) as connection:
            seconds = fill(connection, n_leads, n_owners)
            milliseconds, n_rows = ask(connection, n_owners)
            if shows_plan:
                print(plan(connection))
    low, middle, high = np.percentile(milliseconds, [0, 50, 99])
    times = [f"{value:.1f}" for value in (low, middle, high)]
    return [f"{n_leads:,}", f"{n_owners:,}", f"{n_rows.mean():.0f}", *times, f"{seconds:.0f}"]


def main() -> None:
    """Measure one size, or print the plan."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--leads", type=int, nargs="+", default=[200_000])
    parser.add_argument("--owners", type=int, default=500)
    parser.add_argument("--plan", action="store_true", help="print EXPLAIN ANALYZE of one query")
    parser.add_argument("--write", action="store_true", help="write the table into docs/guides/worklist.md")
    arguments = parser.parse_args()
    rows = [measure(n, arguments.owners, arguments.plan) for n in arguments.leads]
    header = ["leads", "owners", "rows", "fastest ms", "median ms", "99 % ms", "seconds to deal out"]
    text = f"{markdown(header, rows)}\n\n{machine()}; {N_QUERIES} queries"
    print(text)
    if arguments.write:
        write(GUIDE, "worklist", text)


if __name__ == "__main__":
    main()
