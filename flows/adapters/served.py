"""`python -m flows.adapters.served CRON TIMEZONE`: the deployments of an installation, served.

`nightly` by its schedule, `evidence` on Sundays, `monitor` and `retrain` when asked for; `retrain` also by an
automation, when a monitor asks for a search. What `deployments/prefect.yaml` says for a worker, without one.
"""

import os
import sys
from pathlib import Path

from prefect import serve
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentEventTrigger
from prefect.schedules import Cron

from flows.adapters.notify_prefect import DRIFT
from flows.evidence_flow import evidence_over_origins
from flows.monitor import monitor
from flows.nightly import nightly
from flows.retrain import retrain

SUNDAYS = "0 5 * * 0"
AT_ONCE = 2
"""Flow runs side by side; a lock in Postgres keeps two nights apart."""


def main() -> None:
    """Serve until terminated."""
    os.chdir(Path(__file__).parents[2])  # runs are started from here by the path of their module
    cron, timezone = sys.argv[1:]
    alone = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)
    on_drift = DeploymentEventTrigger(
        name="retrain when a monitor asks",
        expect={DRIFT},
        match={"prefect.resource.id": "leadscore.model.*"},
        parameters={"reason": "{{ event.payload.cause }}", "as_of": "{{ event.payload.as_of }}"},
    )
    serve(
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
        limit=AT_ONCE,
        pause_on_shutdown=False,
        print_starting_message=False,
    )


if __name__ == "__main__":
    main()
