"""What a training run leaves in MLflow besides the model: JSON tables, SVG charts, the report."""

import json
import platform
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from flows.charts import standalone
from flows.lead_model import LeadModel


@dataclass(frozen=True)
class RunRecord:
    """What a training run leaves behind besides the model.

    Attributes
    ----------
    name : shown in MLflow, for example the as-of date.
    metrics : flat; intervals as `<metric>_low` and `<metric>_high`; None and NaN are left out.
    params : anything that `str` makes readable.
    data_sha256 : of the data the features were built from.
    curves : table name -> column name -> values; stored as JSON.
    charts : chart name -> SVG text, as `flows.report_charts` draws it.
    report : HTML file of the run.
    """

    name: str
    metrics: Mapping[str, float | None]
    params: Mapping[str, Any]
    data_sha256: str
    curves: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    charts: Mapping[str, str] = field(default_factory=dict)
    report: Path | None = None


def write_run_files(folder: Path, model: LeadModel, record: RunRecord) -> None:
    """Write the files of a run into `folder`, as MLflow shows them.

    `features.json`, `label_definition.json`, `environment.json`, `curves/<name>.json`, `curves/<name>.svg`
    and `report/<file>`.
    """
    _write_json(folder / "features.json", model.encoding.to_dict())
    label = {**asdict(model.label_definition), "data_sha256": record.data_sha256}
    _write_json(folder / "label_definition.json", label)
    _write_json(folder / "environment.json", environment())
    for name, table in record.curves.items():
        _write_json(folder / "curves" / f"{name}.json", table)
    for name, svg in record.charts.items():
        _write(folder / "curves" / f"{name}.svg", standalone(svg))
    if record.report is not None:
        (folder / "report").mkdir()
        shutil.copy(record.report, folder / "report")


def environment() -> dict[str, Any]:
    """Python, platform and the installed versions of leadscore and everything it asks for."""
    required = [
        re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in metadata.requires("leadscore") or []
    ]
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: metadata.version(name) for name in sorted(["leadscore", *required])},
    }


def _write_json(path: Path, value: Any) -> None:
    _write(path, json.dumps(value, indent=1))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
