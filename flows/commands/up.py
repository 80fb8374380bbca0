"""`up`: everything that runs by itself, watched over by one process."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from flows.commands.session import DEFAULT_OUTPUT, Answer, Output, UsageError, database_of, opened, say

if TYPE_CHECKING:
    from flows.adapters.database import Database
    from flows.adapters.services import Schedule
    from flows.adapters.settings import Settings
    from flows.progress import Progress


def up(
    *,
    cron: Annotated[str, Parameter(help="When nights run, as a cron expression.")] = "0 2 * * *",
    timezone: Annotated[str, Parameter(help="Time zone of --cron, such as Europe/Berlin.")] = "UTC",
    prefect_port: Annotated[int, Parameter(help="Port of Prefect's server and UI on 127.0.0.1.")] = 4200,
    mlflow_port: Annotated[int, Parameter(help="Port of MLflow's UI on 127.0.0.1; 0: no UI.")] = 5000,
    output: Output = DEFAULT_OUTPUT,
) -> Answer:
    """Run unattended until stopped: database, Prefect with its schedules and automations, MLflow's UI.

    Whatever of it dies is started again. Ctrl-C or SIGTERM stops everything and is a success. Nights are days
    of UTC: one that runs before midnight UTC leaves out the day that has just ended. Where
    MLFLOW_TRACKING_URI is a server's, that server has a UI and none is started.

    Example: leadscore up --cron "30 3 * * 1-5" --timezone Europe/Berlin
    """
    with opened(output) as (settings, progress):
        from flows.adapters.prefect_server import prefect_environment
        from flows.adapters.services import Schedule

        with prefect_environment(settings.root):
            _check_schedule(cron, timezone)
        ports = _ports(settings, prefect_port, mlflow_port)
        with database_of(settings, progress) as database:
            _serve(settings, database, progress, Schedule(cron, timezone), ports)
    return Answer({"status": "stopped"}, lambda: "everything is stopped")


def _serve(
    settings: Settings,
    database: Database,
    progress: Progress,
    schedule: Schedule,
    ports: dict[str, int],
) -> None:
    from flows import interruption
    from flows.adapters.registry import is_server, tracking_uri
    from flows.adapters.services import HOST, services
    from flows.supervisor import Supervisor

    uri = tracking_uri(settings, database)
    supervisor = Supervisor(services(settings, uri, schedule, ports), say)
    try:
        with progress.stage("start the services"):
            supervisor.start()
        for name, port in ports.items():
            say(f"{name} is at http://{HOST}:{port}")
        if is_server(uri):
            say(f"mlflow is at {uri}")
        say(f"nights run at {schedule.cron!r} ({schedule.timezone}); logs are in {settings.root / 'logs'}")
        supervisor.watch()
    except (KeyboardInterrupt, interruption.Terminated):
        say("stopping")
    finally:
        with interruption.held_back():
            supervisor.stop()


def _ports(settings: Settings, prefect: int, mlflow: int) -> dict[str, int]:
    """Return the ports of the UIs that are ours, each free: who listens there now would be taken for ours."""
    from flows.adapters.processes import why_not_free
    from flows.adapters.registry import is_server

    has_ui = mlflow != 0 and not is_server(settings.mlflow_tracking_uri)
    ports = {"prefect": prefect} | ({"mlflow": mlflow} if has_ui else {})
    if len(set(ports.values())) < len(ports):
        raise UsageError(
            f"--prefect-port and --mlflow-port are both {prefect}: choose another for one of them"
        )
    for name, port in ports.items():
        if not 0 < port < 1 << 16:
            raise UsageError(f"--{name}-port {port} should be between 1 and 65535")
        why = why_not_free(port)
        if why is not None:
            raise UsageError(
                f"port {port} is not free ({why}): stop what listens there, or choose another --{name}-port"
            )
    return ports


def _check_schedule(cron: str, timezone: str) -> None:
    """Refuse what Prefect would refuse in a child that is then started again for ever."""
    from prefect.client.schemas.schedules import CronSchedule
    from pydantic import ValidationError

    try:
        CronSchedule(cron=cron, timezone=timezone)
    except ValidationError as error:
        given = {"cron": f"--cron {cron!r}", "timezone": f"--timezone {timezone!r}"}
        wanted = {"cron": "a cron expression such as '0 2 * * *'", "timezone": "a zone such as Europe/Berlin"}
        wrong = [str(one["loc"][0]) for one in error.errors()]
        raise UsageError("; ".join(f"{given[name]} is not {wanted[name]}" for name in wrong)) from None
    _warn_of_early_nights(cron, timezone)


def _warn_of_early_nights(cron: str, timezone: str) -> None:
    """Say so where a night begins in what is still the day before in UTC: it scores as of that day."""
    starts = _starts_of_a_year(cron, timezone)
    if any(start.astimezone(UTC).date() < start.date() for start in starts):
        offset = max(start.utcoffset() or timedelta() for start in starts)
        say(
            f"warning: {cron!r} ({timezone}) has nights before midnight UTC, which leave out the day that has"
            f" just ended; choose {datetime.min + offset:%H:%M} or later"
        )


def _starts_of_a_year(cron: str, timezone: str) -> list[datetime]:
    """Return when nights run in the next year, at most the first thousand, in local time."""
    import asyncio

    from prefect.server.schemas.schedules import CronSchedule

    now = datetime.now(UTC)
    schedule = CronSchedule(cron=cron, timezone=timezone)
    try:
        return list(asyncio.run(schedule.get_dates(start=now, end=now + timedelta(days=366))))
    except ValueError:
        raise UsageError(f"--cron {cron!r} never comes") from None
