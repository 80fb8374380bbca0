"""`up`: everything that runs by itself, watched over by one process."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from flows.commands.session import DEFAULT_OUTPUT, Answer, Output, UsageError, database_of, opened


def up(
    *,
    cron: Annotated[str, Parameter(help="When nights run, as a cron expression.")] = "0 2 * * *",
    timezone: Annotated[str, Parameter(help="Time zone of --cron, such as Europe/Berlin.")] = "UTC",
    prefect_port: Annotated[int, Parameter(help="Port of Prefect's server and UI on 127.0.0.1.")] = 4200,
    mlflow_port: Annotated[int, Parameter(help="Port of MLflow's UI on 127.0.0.1; 0: no UI.")] = 5000,
    output: Output = DEFAULT_OUTPUT,
) -> Answer:
    """Run unattended until stopped: database, Prefect with its schedules and automations, MLflow's UI.

    Whatever of it dies is started again. Ctrl-C or SIGTERM stops everything and is a success.

    Example: leadscore up --cron "30 1 * * 1-5" --timezone Europe/Berlin
    """
    _check_schedule(cron, timezone)
    with opened(output) as (settings, progress), database_of(settings, progress) as database:
        from flows import interruption
        from flows.adapters.registry import tracking_uri
        from flows.adapters.services import HOST, Schedule, services
        from flows.supervisor import Supervisor

        ports = {"prefect": prefect_port} | ({"mlflow": mlflow_port} if mlflow_port else {})
        uri = tracking_uri(settings, database)
        supervisor = Supervisor(services(settings, uri, Schedule(cron, timezone), ports), _say)
        try:
            with progress.stage("start the services"):
                supervisor.start()
            for name, port in ports.items():
                _say(f"{name} is at http://{HOST}:{port}")
            _say(f"nights run at {cron!r} ({timezone}); logs are in {settings.root / 'logs'}")
            supervisor.watch()
        except (KeyboardInterrupt, interruption.Terminated):
            _say("stopping")
        finally:
            with interruption.held_back():
                supervisor.stop()
    return Answer({"status": "stopped"}, lambda: "everything is stopped")


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


def _say(text: str) -> None:
    print(f"leadscore: {text}", file=sys.stderr, flush=True)
