"""Is everything there that a night needs: one finding per check, with what to do about it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib import metadata
from typing import Literal

from flows import source_findings
from flows.adapters.database import ROLES, Database, open_database
from flows.adapters.migrations import installed_source, migrate
from flows.adapters.registry import open_registry
from flows.adapters.settings import Settings
from flows.finding import Finding
from flows.readiness_finding import readiness_finding

_PACKAGES = ("leadscore", "polars", "numba", "prefect", "mlflow", "psycopg")
_WARN_FREE_GIB, _FAIL_FREE_GIB = 5.0, 0.5


def examine(settings: Settings) -> Iterator[Finding]:
    """Check the installation from the ground up; checks that need a failed one are left out."""
    yield _versions()
    yield _disk(settings)
    with ExitStack() as stack:
        try:
            database = stack.enter_context(open_database(settings))
        except RuntimeError as error:
            yield Finding(
                "database", "fail", str(error), "correct LEADSCORE_DATABASE_URL or start that server"
            )
            return
        yield _guarded("database", lambda: _server(database))
        yield _guarded("schema", lambda: _schema(database))
        yield _guarded("roles", lambda: _roles(database))
        source = _guarded("source", lambda: _source(database))
        yield source
        if source.status != "fail":
            yield _guarded("contract", lambda: source_findings.contract(database))
            yield _guarded("replica", lambda: source_findings.replica(database))
            yield _guarded("freshness", lambda: source_findings.freshness(database))
            yield from source_findings.labels(settings, database)
            yield _guarded("readiness", lambda: readiness_finding(settings, database))
            yield _guarded("leak court", lambda: source_findings.leak_court(database))
        yield _guarded("champion", lambda: _champion(settings, database))
        yield _guarded("scores", lambda: scores_finding(settings, database))


def _guarded(check: str, examine_one: Callable[[], Finding]) -> Finding:
    """A check that cannot be made is a finding too."""
    try:
        return examine_one()
    except Exception as error:
        return Finding(check, "fail", str(error).strip() or type(error).__name__, "see the message")


def _versions() -> Finding:
    installed = ", ".join(f"{name} {metadata.version(name)}" for name in _PACKAGES)
    return Finding("versions", "ok", f"Python {sys.version.split()[0]}, {installed}")


def _disk(settings: Settings) -> Finding:
    existing = next(path for path in (settings.root, *settings.root.parents) if path.exists())
    free = shutil.disk_usage(existing).free / 2**30
    status: Literal["ok", "warn", "fail"] = "ok"
    if free < _WARN_FREE_GIB:
        status = "fail" if free < _FAIL_FREE_GIB else "warn"
    remedy = "" if status == "ok" else "free space, or move LEADSCORE_HOME to a larger disk"
    return Finding("disk", status, f"{free:,.1f} GiB free at {settings.root}", remedy)


def _server(database: Database) -> Finding:
    with database.connect() as connection:
        number = connection.info.server_version
    return Finding(
        "database",
        "ok",
        f"Postgres {number // 10_000}.{number % 10_000} at {database.uri(hide_password=True)}",
    )


def _schema(database: Database) -> Finding:
    applied = migrate(database)
    return Finding("schema", "ok", f"migrated now: {', '.join(applied)}" if applied else "up to date")


def _roles(database: Database) -> Finding:
    for role in ROLES:
        database.connect(role).close()
    return Finding("roles", "ok", ", ".join(ROLES))


def _source(database: Database) -> Finding:
    source = installed_source(database)
    if source is None:
        return Finding(
            "source",
            "fail",
            "no source is installed",
            "run `leadscore db install-source`, `leadscore import` or `leadscore simulate`",
        )
    clock = f"its clock stands at {source.clock}" if source.clock else "its clock is the calendar"
    over = f" over schema {source.schema}" if source.schema else ""
    return Finding("source", "ok", f"adapter {source.adapter}{over}; {clock}")


def _champion(settings: Settings, database: Database) -> Finding:
    from flows.adapters.registry import CHAMPION

    champion = open_registry(settings, database).get(CHAMPION)
    if champion is None:
        return Finding("champion", "warn", "no model yet", "the next `leadscore nightly` trains the first")
    age = datetime.now(UTC) - champion.created_at
    return Finding("champion", "ok", f"version {champion.version}, {age.days} days old")


def scores_finding(settings: Settings, database: Database) -> Finding:
    """Say which scores are in force, and whether they should still be shown by the data's own clock."""
    with database.connect("score_writer") as connection:
        row = connection.execute(
            "SELECT count(*), max(as_of_date), count(*) FILTER (WHERE valid_until < %s)"
            " FROM scoring.lead_score WHERE model_key = %s",
            [source_findings.data_clock(database), settings.model_key],
        ).fetchone()
    count, as_of, n_expired = row or (0, None, 0)
    if not count:
        return Finding("scores", "warn", "none published yet", "run `leadscore nightly`")
    detail = f"{count:,} leads as of {as_of}"
    if n_expired:
        return Finding(
            "scores",
            "warn",
            f"{detail}; {n_expired:,} of them are past their valid_until",
            "do nights still run? `leadscore nightly` publishes today's; open pages are in scoring.page",
        )
    return Finding("scores", "ok", detail)
