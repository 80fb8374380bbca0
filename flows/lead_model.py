"""The model artefact: booster, encoding and what they were made from, as numbers and JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from features.delay import DelayCurve
from features.matrix import Encoding, to_matrix
from flows.amounts import AmountModel
from flows.reason_scale import ReasonScale
from pkboost_core import PKBoostClassifier, serialize
from pkboost_core.explain import shap_values

if TYPE_CHECKING:
    import pandas as pd

FORMAT_VERSION = 2
READABLE_FORMATS = (1, 2)
"""Format 1 had no delay curve."""
BOOSTER_FILE = "booster.pkb"
AMOUNTS_FILE = "amounts.pkb"
MODEL_FILE = "lead_model.json"


def installed_version() -> str:
    """Version of the installed leadscore package."""
    return metadata.version("leadscore")


@dataclass(frozen=True)
class LabelDefinition:
    """What the probability is of: a conversion, as the SQL of that hash defines it, within `horizon_days`."""

    horizon_days: int
    reporting_lag_days: int
    conversion_sql_sha256: str


@dataclass(frozen=True)
class TrainingRange:
    """Rows the model was fitted on: snapshots `first_snapshot` to `last_snapshot`, known before `as_of`."""

    as_of: date
    first_snapshot: date
    last_snapshot: date
    n_rows: int
    n_positives: int


@dataclass(frozen=True)
class LeadModel:
    """Everything needed to score a frame of features.

    Attributes
    ----------
    booster : fitted and calibrated classifier.
    encoding : names, order, kinds and category levels of the feature columns.
    label_definition, training_range : what was learnt, and from when.
    recipe : JSON-able settings that made the model.
    code_version : of the package that fitted it.
    delay_curve : share of the horizon's conversions that is known so many days after a snapshot, by the
        lead's age; None where there were too few conversions for one.
    reason_scale : what reasons are compared with; empty in artefacts from before there was one.
    amounts : of leads that convert; None where no won lead had an amount.
    """

    booster: PKBoostClassifier
    encoding: Encoding
    label_definition: LabelDefinition
    training_range: TrainingRange
    recipe: Mapping[str, Any] = field(default_factory=dict)
    code_version: str = field(default_factory=installed_version)
    delay_curve: DelayCurve | None = None
    reason_scale: ReasonScale = field(default_factory=ReasonScale)
    amounts: AmountModel | None = None

    def predict_proba(self, frame: pl.DataFrame) -> np.ndarray:
        """Probability of a conversion within the horizon, float64 (n,).

        Raises
        ------
        ValueError
            If columns of `frame` differ from the training columns in name or order; it says which.
        """
        return self.booster.predict_proba(to_matrix(frame, self.encoding))[:, 1]

    def can_score(self, frame: pl.DataFrame) -> bool:
        """Whether `frame` has the model's columns in their kinds: custom ones come, go and turn into text."""
        return not self.encoding.misfits(frame)

    def probabilities(self, frame: pl.DataFrame) -> np.ndarray:
        """Probability of a conversion by the model's own columns, whatever else is in `frame`, float64 (n,).

        Raises
        ------
        ValueError
            The model cannot score the frame; it says for which columns.
        """
        if not self.can_score(frame):
            raise ValueError(
                f"the model was trained on {', '.join(self.encoding.misfits(frame))}, which the data do not"
                " have or have in another kind: train anew"
            )
        return self.predict_proba(frame.select(self.encoding.names))

    def contributions(self, frame: pl.DataFrame, n_threads: int = 1) -> np.ndarray:
        """Exact SHAP values in log-odds before calibration, float64 (n, k), one column per feature."""
        values, _ = shap_values(self.booster.ensemble_, to_matrix(frame, self.encoding), n_threads=n_threads)
        return values

    def save(self, folder: Path) -> None:
        """Write the artefact into `folder`, which is made when missing."""
        folder.mkdir(parents=True, exist_ok=True)
        serialize.save(self.booster, folder / BOOSTER_FILE)
        if self.amounts is not None and self.amounts.booster is not None:
            serialize.save(self.amounts.booster, folder / AMOUNTS_FILE)
        (folder / MODEL_FILE).write_text(
            json.dumps(self._description(), indent=1, allow_nan=False), encoding="utf-8"
        )

    @classmethod
    def load(cls, folder: Path) -> "LeadModel":
        """Read what `save` wrote.

        Raises
        ------
        ValueError
            If the artefact has a format this version does not know.
        FileNotFoundError
            If a file of the artefact is missing.
        """
        path = folder / MODEL_FILE
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored.get("format_version") not in READABLE_FORMATS:
            raise ValueError(
                f"{path} has format {stored.get('format_version')}, this leadscore reads up to "
                f"{FORMAT_VERSION}: "
                f"install the version that made it ({stored.get('code_version')}) or train anew"
            )
        curve = stored.get("delay_curve")
        return cls(
            booster=serialize.load(folder / BOOSTER_FILE),
            encoding=Encoding.from_dict(stored["encoding"]),
            label_definition=LabelDefinition(**stored["label_definition"]),
            training_range=_training_range(stored["training_range"]),
            recipe=stored["recipe"],
            code_version=stored["code_version"],
            delay_curve=None if curve is None else DelayCurve.from_dict(curve),
            reason_scale=ReasonScale.from_dict(stored["reasons"]) if "reasons" in stored else ReasonScale(),
            amounts=_amounts(folder, stored.get("amounts")),
        )

    def _description(self) -> dict[str, Any]:
        return {
            "format_version": FORMAT_VERSION,
            "code_version": self.code_version,
            "label_definition": asdict(self.label_definition),
            "training_range": training_range_dict(self.training_range),
            "recipe": dict(self.recipe),
            "delay_curve": None if self.delay_curve is None else self.delay_curve.to_dict(),
            "reasons": self.reason_scale.to_dict(),
            "amounts": None if self.amounts is None else self.amounts.to_dict(),
            "encoding": self.encoding.to_dict(),
        }


def training_range_dict(training: TrainingRange) -> dict[str, str | int]:
    """Return the range as JSON-able values, dates as ISO text."""
    return {
        name: value.isoformat() if isinstance(value, date) else value
        for name, value in asdict(training).items()
    }


def _training_range(stored: Mapping[str, Any]) -> TrainingRange:
    dates = {name: date.fromisoformat(stored[name]) for name in ("as_of", "first_snapshot", "last_snapshot")}
    return TrainingRange(**{**stored, **dates})


def _amounts(folder: Path, stored: Mapping[str, Any] | None) -> AmountModel | None:
    if stored is None:
        return None
    booster = serialize.load(folder / AMOUNTS_FILE) if stored["weight"] > 0 else None
    return AmountModel(**stored, booster=booster)


def pandas_input(frame: pl.DataFrame, encoding: Encoding) -> "pd.DataFrame":
    """Convert features to what the MLflow model takes: float64 columns, and text columns of str or None."""
    import pandas as pd

    columns: dict[str, Any] = {
        name: pd.Series(frame[name].cast(pl.String).to_list(), dtype=object)
        if is_category
        else frame[name].cast(pl.Float64).to_numpy()
        for name, is_category in encoding.kinds()
    }
    return pd.DataFrame(columns)


def from_pandas(frame: "pd.DataFrame", encoding: Encoding) -> pl.DataFrame:
    """Convert pandas features to Polars, in the order of `encoding`; NaN and None are missing."""
    return pl.DataFrame(
        [
            pl.Series(
                name, frame[name].astype(object).where(frame[name].notna(), None).tolist(), dtype=pl.String
            )
            if is_category
            else pl.Series(name, frame[name].to_numpy(dtype=np.float64, na_value=np.nan))
            for name, is_category in encoding.kinds()
        ]
    )
