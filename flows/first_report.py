"""The end of a night without a model: summary and page of any night, without what only models have."""

from typing import TYPE_CHECKING, Any

import numpy as np

from features.sources import Sources
from flows.adapters.memory import PeakMemory
from flows.evaluation import Evaluation
from flows.first_nights import FirstNight
from flows.night_report import (
    close,
    drift,
    facts_of_scores,
    night_summary,
    report_path,
    set_aside,
    top_leads,
    top_line,
)
from flows.report import ReportData, write_report

if TYPE_CHECKING:
    from flows.night import Night

_OF_A_MODEL = (
    "model_version", "n_train_rows", "n_train_positives", "average_precision", "average_precision_low",
    "average_precision_high", "prevalence", "roc_auc", "lift_at_10pct", "precision_at_2pct", "log_loss",
    "recipe", "train_seconds", "churn",
)  # fmt: skip
_NO_MODEL = dict.fromkeys(_OF_A_MODEL) | {
    "is_retrained": False,
    "leakage_alarm": False,
    "leakage_suspects": [],
}


def finish(
    night: "Night", sources: Sources, first: FirstNight, hindsight: Evaluation | None, memory: PeakMemory
) -> dict[str, Any]:
    """Write the report and close the run's record.

    Returns
    -------
    dict
        The night's summary, JSON-able; None where only a model has something to say.
    """
    night.warnings += [first.words, f"why there is no model: {night.why_no_model}"]
    top = top_leads(sources, first.scores)
    path = report_path(night)
    with night.progress.stage("report"):
        write_report(path, _page(night, first, top, hindsight))
    summary = night_summary(night, first.tier, first.scores, top, _NO_MODEL, hindsight, memory, path)
    close(night, summary, {"tier": first.tier})
    return summary


def _page(
    night: "Night", first: FirstNight, top: list[dict[str, Any]], hindsight: Evaluation | None
) -> ReportData:
    scores = first.scores
    facts = facts_of_scores(night, first.tier, scores) | {"data sha256": night.data_sha256[:16]}
    if hindsight is not None:
        facts["in hindsight"] = f"ROC-AUC {hindsight.roc_auc:.3f} ({hindsight.protocol})"
    return ReportData(
        title=f"Lead scores of {night.as_of}",
        protocol=first.words,
        metrics={},
        y=np.zeros(0),
        p=np.zeros(0),
        scores=scores["probability"].drop_nulls().to_numpy(),
        top_leads=[top_line(lead) for lead in top],
        facts=facts,
        set_aside=set_aside(night),
        seconds=night.progress.seconds,
        warnings=night.warnings,
        drift=drift(night),
    )
