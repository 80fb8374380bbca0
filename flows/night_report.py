"""The end of a night: what it says of itself in SQL, JSON, Prefect and on one page."""

import json
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from features.sources import Sources
from flows.adapters import score_runs
from flows.adapters.drift_table import course
from flows.adapters.evidence_table import evidence_on
from flows.adapters.memory import PeakMemory
from flows.adapters.page_table import open_pages
from flows.adapters.score_pairs import score_pairs
from flows.champion import Champion
from flows.churn import Churn, churn
from flows.drift_section import Drift
from flows.evaluation import Evaluation
from flows.recipes import recipe_of
from flows.report import ReasonLine, ReportData, TopLead, write_report
from flows.status import CLOSED, OWN_MODEL

if TYPE_CHECKING:
    from flows.night import Night

N_TOP = 10


def finish(
    night: "Night",
    sources: Sources,
    champion: Champion,
    scores: pl.DataFrame,
    hindsight: Evaluation | None,
    memory: PeakMemory,
) -> dict[str, Any]:
    """Write the report, attach it where people look for it, and close the run's record.

    Returns
    -------
    dict
        The night's summary, JSON-able.
    """
    top = top_leads(sources, scores)
    moved = _moved(night)
    shown = evidence_on(night.database, night.settings.model_key, str(champion.version.version))
    path = report_path(night)
    with night.progress.stage("report"):
        write_report(path, _page(night, champion, scores, top, hindsight, memory, shown, moved))
        if champion.trained is not None:
            night.registry.attach_report(champion.version.run_id, path)
    of_model = training_summary(night, champion) | {"churn": None if moved is None else moved.to_dict()}
    summary = night_summary(night, OWN_MODEL, scores, top, of_model, hindsight, memory, path)
    close(night, summary, _model_inputs(champion), shown)
    return summary


def night_summary(
    night: "Night",
    tier: str,
    scores: pl.DataFrame,
    top: Sequence[Mapping[str, Any]],
    of_model: Mapping[str, Any],
    hindsight: Evaluation | None,
    memory: PeakMemory,
    path: Path,
) -> dict[str, Any]:
    """Return what any night says of itself, JSON-able, with what `of_model` adds.

    Parameters
    ----------
    tier : where the numbers come from.
    scores, top : rows of `scoring.lead_score`, and the best of them as `top_leads` returns them.
    path : of the report.
    """
    return {
        "run_id": recorded(night).run_id,
        "status": "published",
        "as_of": night.as_of,
        "tier": tier,
        "why_no_model": night.why_no_model,
        "n_open_leads": (scores["status"] != CLOSED).sum(),
        "n_scored": scores["probability"].is_not_null().sum(),
        **of_model,
        "hindsight": None if hindsight is None else hindsight.as_dict(),
        "wall_seconds": {name: round(value, 3) for name, value in night.progress.seconds.items()},
        "peak_rss_mb": round(memory.peak_rss_mb, 1),
        "report_path": str(path),
        "set_aside": [] if night.set_aside is None else night.set_aside.to_dicts(),
        **night.watched.to_dict(),
        "warnings": night.warnings,
        "top_leads": [{k: v for k, v in lead.items() if k != "reasons"} for lead in top],
    }


def close(
    night: "Night",
    summary: Mapping[str, Any],
    inputs: Mapping[str, Any],
    evidence: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Close the run's record with the summary's counts and what the scores were made from; tell Prefect."""
    data = {"data_sha256": night.data_sha256, "conversion_sql_sha256": night.label.conversion_sql_sha256}
    counts = {name: summary[name] for name in _RECORDED}
    score_runs.finish_run(night.database, recorded(night), counts, {**data, **inputs})
    if not night.is_replay:
        _show_in_prefect(summary, evidence)


def recorded(night: "Night") -> score_runs.Run:
    """Return the night's run.

    Raises
    ------
    RuntimeError : the night keeps no record.
    """
    if night.run is None:
        raise RuntimeError("only a recorded night has an end to report")
    return night.run


def report_path(night: "Night") -> Path:
    """Where a night's report lies; a replay's in a folder of its own, not to be taken for production's."""
    folder = night.settings.root / "reports" / (night.settings.model_key if night.is_replay else "")
    return folder / f"{night.as_of}-run{recorded(night).run_id}.html"


def training_summary(night: "Night", champion: Champion) -> dict[str, Any]:
    """Return the facts about the model and its measured recipe, JSON-able."""
    model, evaluation = champion.model, champion.model.recipe["evaluation"]
    leakage = model.recipe["leakage"]
    return {
        "as_of": night.as_of,
        "model_version": str(champion.version.version),
        "is_retrained": champion.trained is not None,
        "n_train_rows": model.training_range.n_rows,
        "n_train_positives": model.training_range.n_positives,
        **{name: value for name, value in evaluation.items() if name not in ("n_rows", "n_positives")},
        "n_evaluation_rows": evaluation["n_rows"],
        "n_evaluation_positives": evaluation["n_positives"],
        "recipe": recipe_of(model.recipe).describe(),
        "readiness": "; ".join(model.recipe.get("readiness", ())),
        "train_seconds": round(model.recipe["train_seconds"], 3),
        "leakage_alarm": leakage["is_alarm"],
        "leakage_suspects": [suspect["column"] for suspect in leakage["suspects"]],
    }


def top_leads(sources: Sources, scores: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the best leads with what people know them by."""
    names = sources.lead.select("lead_id", "title", company="email_domain")
    columns = ["rank", "lead_id", "company", "title", "probability", "score", "grade", "owner_id", "reasons"]
    best = scores.filter(pl.col("rank_overall") <= N_TOP).join(names, on="lead_id", how="left")
    reasons = [f"reason_{i}" for i in (1, 2, 3)]
    return best.rename({"rank_overall": "rank"}).sort("rank").select(*columns, *reasons).to_dicts()


def _page(
    night: "Night",
    champion: Champion,
    scores: pl.DataFrame,
    top: Sequence[Mapping[str, Any]],
    hindsight: Evaluation | None,
    memory: PeakMemory,
    shown: Sequence[Mapping[str, Any]],
    moved: Churn | None,
) -> ReportData:
    model, recipe = champion.model, champion.model.recipe
    cohort, evaluation = recipe["evaluation_cohort"], recipe["evaluation"]
    training, mapping = model.training_range, recipe["score_mapping"]
    facts: dict[str, Any] = {
        **facts_of_scores(night, OWN_MODEL, scores),
        "model version": champion.version.version,
        "trained": f"as of {training.as_of}, snapshots {training.first_snapshot} to {training.last_snapshot}",
        "recipe": recipe_of(recipe).describe(),
        "training rows": training.n_rows,
        "conversions in them": training.n_positives,
        "training seconds": recipe["train_seconds"],
        "amounts": "no won lead has one" if model.amounts is None else model.amounts.words(),
        "score mapping": f"{mapping['version']}, base rate {mapping['base_rate']:.2%}",
        "what each way of learning has": "; ".join(recipe.get("readiness", ())) or "not counted",
        "data sha256": night.data_sha256[:16],
        "peak memory": f"{memory.peak_rss_mb:,.0f} MiB",
    }
    if moved is not None:
        facts["rank churn"] = moved.words()
    if hindsight is not None:
        facts["in hindsight"] = (
            f"ROC-AUC {hindsight.roc_auc:.3f}, PR-AUC {hindsight.average_precision:.3f}, "
            f"prevalence {hindsight.prevalence:.1%} ({hindsight.protocol})"
        )
    metrics = {k: v for k, v in evaluation.items() if isinstance(v, int | float)}
    return ReportData(
        title=f"Lead scores of {night.as_of}",
        protocol=evaluation["protocol"],
        metrics=metrics,
        y=np.asarray(cohort["y"], dtype=np.float64),
        p=np.asarray(cohort["p"], dtype=np.float64),
        scores=scores["probability"].drop_nulls().to_numpy(),
        top_leads=[top_line(lead) for lead in top],
        facts=facts,
        set_aside=set_aside(night),
        seconds=night.progress.seconds,
        warnings=night.warnings,
        delay_curve=model.delay_curve,
        drift=drift(night),
        evidence=shown,
    )


def _moved(night: "Night") -> Churn | None:
    """Compare with the night before, and warn where the list is another one."""
    if night.run is None or (pairs := score_pairs(night.database, night.run)) is None:
        return None
    found = churn(*pairs)
    if found is not None and (warning := found.warning()) is not None:
        night.warnings.append(warning)
    return found


def drift(night: "Night") -> Drift:
    """What the monitors say tonight, and have said."""
    key = night.settings.model_key
    found = course(night.database, key, night.as_of)
    return Drift(found, open_pages(night.database, key), night.watched.notes)


def facts_of_scores(night: "Night", tier: str, scores: pl.DataFrame) -> dict[str, Any]:
    """Return what the page of any night says of its scores."""
    by_status = sorted(scores["status"].value_counts().rows())
    return {
        "as of": night.as_of,
        "open leads": (scores["status"] != CLOSED).sum(),
        "by status": ", ".join(f"{status} {n:,}" for status, n in by_status),
        "numbers from": tier,
    }


def top_line(lead: Mapping[str, Any]) -> TopLead:
    """Return a lead of `top_leads` as the page shows it; reasons of a rule push neither way."""
    signs = [reason["sign"] for reason in json.loads(lead["reasons"] or "[]")]
    words = [lead[f"reason_{i}"] for i in (1, 2, 3) if lead[f"reason_{i}"]]
    reasons = [ReasonLine(*line) for line in zip_longest(words, signs[: len(words)], fillvalue="")]
    name = ", ".join(part for part in (lead["title"], lead["company"]) if part) or lead["lead_id"]
    return TopLead(lead["rank"], lead["lead_id"], name, lead["probability"], reasons)


def set_aside(night: "Night") -> dict[str, int]:
    """Say what was left out of tonight's data, and how many rows."""
    findings = () if night.set_aside is None else night.set_aside.findings
    return {f"{f.frame}: {f.rule} ({f.consequence})": f.n_rows for f in findings}


_RECORDED = (
    "n_open_leads",
    "n_scored",
    "n_train_rows",
    "n_train_positives",
    "set_aside",
    "warnings",
    "peak_rss_mb",
    "wall_seconds",
    "average_precision",
    "roc_auc",
    "prevalence",
    "churn",
)


def _model_inputs(champion: Champion) -> dict[str, Any]:
    return {
        "model_version": champion.version.version,
        "mlflow_run_id": champion.version.run_id,
        "code_version": champion.model.code_version,
    }


def _show_in_prefect(summary: Mapping[str, Any], evidence: Sequence[Mapping[str, Any]]) -> None:
    """Leave the night in numbers as artefacts of the flow run, where there is one."""
    from prefect.artifacts import create_table_artifact
    from prefect.context import get_run_context
    from prefect.exceptions import MissingContextError

    try:
        get_run_context()
    except MissingContextError:
        return
    shown = (
        "as_of",
        "model_version",
        "n_scored",
        "prevalence",
        "average_precision",
        "roc_auc",
        "lift_at_10pct",
    )
    facts = [{"what": name, "value": str(summary[name])} for name in (*shown, "report_path")]
    leads = [{k: str(v) for k, v in lead.items()} for lead in summary["top_leads"]]
    create_table_artifact(facts, key="night", description="The night in numbers")
    create_table_artifact(leads, key="best-leads", description="Best open leads and why")
    if evidence:
        rows = [{name: str(value) for name, value in row.items() if name != "protocol"} for row in evidence]
        create_table_artifact(rows, key="evidence", description="What calling by the score brings")
