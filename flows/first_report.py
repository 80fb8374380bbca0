"""The end of a night without a model: summary and page of any night, without what only models have."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from features.sources import Sources
from flows.adapters import score_runs
from flows.adapters.memory import PeakMemory
from flows.evaluation import Evaluation
from flows.first_nights import FirstNight
from flows.night_report import counts, drift, report_path, set_aside, show_in_prefect, top_leads
from flows.report import ReasonLine, ReportData, TopLead, write_report
from flows.status import CLOSED

if TYPE_CHECKING:
    from flows.night import Night

_OF_A_MODEL = (
    "model_version", "n_train_rows", "n_train_positives", "average_precision", "average_precision_low",
    "average_precision_high", "prevalence", "roc_auc", "lift_at_10pct", "precision_at_2pct", "log_loss",
    "recipe", "train_seconds", "churn",
)  # fmt: skip


def finish(
    night: "Night", sources: Sources, first: FirstNight, hindsight: Evaluation | None, memory: PeakMemory
) -> dict[str, Any]:
    """Write the report and close the run's record.

    Returns
    -------
    dict
        The night's summary, JSON-able; None where only a model has something to say.
    """
    if night.run is None:
        raise RuntimeError("only a recorded night has an end to report")
    night.warnings += [first.words, f"why there is no model: {night.why_no_model}"]
    top = top_leads(sources, first.scores)
    path = report_path(night, night.run)
    with night.progress.stage("report"):
        write_report(path, _page(night, first, top, hindsight))
    summary = {
        "run_id": night.run.run_id,
        "status": "published",
        "as_of": night.as_of,
        "tier": first.tier,
        "why_no_model": night.why_no_model,
        "n_open_leads": (first.scores["status"] != CLOSED).sum(),
        "n_scored": first.scores["probability"].is_not_null().sum(),
        **dict.fromkeys(_OF_A_MODEL),
        "is_retrained": False,
        "leakage_alarm": False,
        "leakage_suspects": [],
        "hindsight": None if hindsight is None else hindsight.as_dict(),
        "wall_seconds": {name: round(value, 3) for name, value in night.progress.seconds.items()},
        "peak_rss_mb": round(memory.peak_rss_mb, 1),
        "report_path": str(path),
        "set_aside": [] if night.set_aside is None else night.set_aside.to_dicts(),
        **night.watched.to_dict(),
        "warnings": night.warnings,
        "top_leads": [{k: v for k, v in lead.items() if k != "reasons"} for lead in top],
    }
    inputs = {
        "data_sha256": night.data_sha256,
        "conversion_sql_sha256": night.label.conversion_sql_sha256,
        "tier": first.tier,
    }
    score_runs.finish_run(night.database, night.run, counts(summary), inputs)
    show_in_prefect(summary, [])
    return summary


def _page(
    night: "Night", first: FirstNight, top: list[dict[str, Any]], hindsight: Evaluation | None
) -> ReportData:
    scores = first.scores
    facts: dict[str, Any] = {
        "as of": night.as_of,
        "open leads": (scores["status"] != CLOSED).sum(),
        "by status": ", ".join(f"{name} {n:,}" for name, n in sorted(scores["status"].value_counts().rows())),
        "numbers from": first.tier,
        "data sha256": night.data_sha256[:16],
    }
    if hindsight is not None:
        facts["in hindsight"] = f"ROC-AUC {hindsight.roc_auc:.3f} ({hindsight.protocol})"
    return ReportData(
        title=f"Lead scores of {night.as_of}",
        protocol=first.words,
        metrics={},
        y=np.zeros(0),
        p=np.zeros(0),
        scores=scores["probability"].drop_nulls().to_numpy(),
        top_leads=[_line(lead) for lead in top],
        facts=facts,
        set_aside=set_aside(night),
        seconds=night.progress.seconds,
        warnings=night.warnings,
        drift=drift(night),
    )


def _line(lead: Mapping[str, Any]) -> TopLead:
    reasons = [ReasonLine(lead[name], "") for name in ("reason_1", "reason_2") if lead[name]]
    name = ", ".join(part for part in (lead["title"], lead["company"]) if part) or lead["lead_id"]
    return TopLead(lead["rank"], lead["lead_id"], name, lead["probability"], reasons)
