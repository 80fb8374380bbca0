"""Rolling-origin evidence on the champion's recipe: measured apart from nights, shown in their reports."""

from dataclasses import asdict
from datetime import date
from typing import Any

from prefect import flow

from flows.adapters.database import Database
from flows.adapters.evidence_table import replace_evidence
from flows.adapters.settings import Settings
from flows.dataset import history
from flows.evidence import POOLED, Evidence, evidence_metrics
from flows.night import Night, open_night, with_given
from flows.nightly import load_champion, read
from flows.progress import Progress
from flows.recipes import recipe_of
from flows.rolling_evidence import N_ORIGINS, rolling_cohorts, rolling_evidence


@flow(name="evidence", persist_result=False)
def evidence_over_origins(as_of: date | None = None, n_origins: int = N_ORIGINS) -> dict[str, Any]:
    """Measure the champion's recipe on past weeks and file the figures in SQL, MLflow and Prefect."""
    with open_night(as_of, records_run=False, told_as=None) as night:
        sources, champion = read(night), load_champion(night)
        version, recipe = champion.version, recipe_of(champion.model.recipe)
        with night.progress.stage("measure past weeks"):
            past = history(sources, night.as_of, night.settings, n_origins=n_origins)
            cohorts = rolling_cohorts(past, sources, recipe, night.settings, n_origins)
            found = rolling_evidence(cohorts, night.settings.random_state)
        days = sorted(cohorts)
        protocol = (
            f"leads open on each of {len(days)} weekly origins from {days[0]} to {days[-1]}, conversions"
            f" within {night.settings.horizon_days} days; recipe {recipe.name!r} fitted on what was known"
        )
        with night.progress.stage("file the evidence"):
            key = night.settings.model_key
            replace_evidence(night.database, key, str(version.version), night.as_of, protocol, found)
            _keep_in_mlflow(night, version.run_id, protocol, found)
            _show_in_prefect(found)
        return _summary(night, version.version, protocol, found)


def run_evidence(
    settings: Settings, database: Database, as_of: date | None, n_origins: int, progress: Progress
) -> dict[str, Any]:
    """Run the flow with resources that are already open."""
    return with_given(lambda day: evidence_over_origins(day, n_origins), settings, database, as_of, progress)


def _keep_in_mlflow(night: Night, run_id: str, protocol: str, found: dict[str, list[Evidence]]) -> None:
    kept = {origin: [asdict(row) for row in rows] for origin, rows in found.items()}
    night.registry.attach_json(
        run_id, "rolling_evidence.json", {"as_of": night.as_of, "protocol": protocol, "origins": kept}
    )
    metrics = {f"rolling_{name}": value for name, value in evidence_metrics(found[POOLED]).items()}
    night.registry.add_metrics(run_id, metrics)


def _show_in_prefect(found: dict[str, list[Evidence]]) -> None:
    from prefect.artifacts import create_table_artifact

    rows = [
        {"origin": origin} | {name: str(value) for name, value in asdict(row).items()}
        for origin, of_origin in found.items()
        for row in of_origin
    ]
    create_table_artifact(
        rows, key="rolling-evidence", description="What calling by the score brings, week after week"
    )


def _summary(night: Night, version: int, protocol: str, found: dict[str, list[Evidence]]) -> dict[str, Any]:
    return {
        "as_of": night.as_of,
        "model_version": str(version),
        "protocol": protocol,
        "origins": {origin: [asdict(row) for row in rows] for origin, rows in found.items()},
        "warnings": night.warnings,
        "wall_seconds": {name: round(value, 3) for name, value in night.progress.seconds.items()},
    }
