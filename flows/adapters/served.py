"""`python -m flows.adapters.served CRON TIMEZONE`: the deployments of an installation, served.

`nightly` by its schedule, `evidence` on Sundays, `monitor` and `retrain` when asked for; `retrain` also by an
automation, when a monitor asks for a search. What `deployments/prefect.yaml` says for a worker, without one.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from prefect import serve
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentEventTrigger
from prefect.schedules import Cron

from flows.adapters.notify_prefect import DRIFT, resource_of
from flows.adapters.settings import Settings
from flows.evidence_flow import evidence_over_origins
from flows.monitor import monitor
from flows.nightly import nightly
from flows.retrain import retrain

SUNDAYS = "0 5 * * 0"
AT_ONCE = 2
"""Flow runs side by side; a lock in Postgres keeps two nights apart."""


def main() -> None:
    """Serve until terminated."""
    os.environ.update(absolute_paths(os.environ, Path.cwd()))
    os.chdir(Path(__file__).parents[2])  # runs are started from here by the path of their module
    cron, timezone = sys.argv[1:]
    serve(
        *deployments(cron, timezone, Settings().model_key),
        limit=AT_ONCE,
        pause_on_shutdown=False,
        print_starting_message=False,
    )


def deployments(cron: str, timezone: str, model_key: str) -> list[RunnerDeployment]:
    """Return the deployments of an installation; `cron` says when its nights run."""
    alone = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)
    on_drift = DeploymentEventTrigger(
        name="retrain when a monitor asks",
        expect={DRIFT},
        match={"prefect.resource.id": resource_of(model_key)},
        parameters={"reason": "{{ event.payload.cause }}", "as_of": "{{ event.payload.as_of }}"},
    )
    return [
        RunnerDeployment.from_flow(
            nightly, "nightly", schedule=Cron(cron, timezone=timezone), concurrency_limit=alone
        ),
        RunnerDeployment.from_flow(
            evidence_over_origins,
            "evidence",
            schedule=Cron(SUNDAYS, timezone=timezone),
            concurrency_limit=alone,
        ),
        RunnerDeployment.from_flow(monitor, "monitor", concurrency_limit=alone),
        RunnerDeployment.from_flow(retrain, "retrain", triggers=[on_drift], concurrency_limit=alone),
    ]


def absolute_paths(environment: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return the settings that name a file or folder, each as it is meant from `folder`."""
    found = {}
    for name, value in environment.items():
        if value and (name == "LEADSCORE_HOME" or (name.startswith("LEADSCORE_") and name.endswith("_FILE"))):
            found[name] = str(folder / Path(value).expanduser())
        elif name == "MLFLOW_TRACKING_URI" and value.startswith("sqlite:///"):
            found[name] = f"sqlite:///{folder / value.removeprefix('sqlite:///')}"
    return found


if __name__ == "__main__":
    main()
