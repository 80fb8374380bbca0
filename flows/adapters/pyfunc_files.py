"""A lead model in the form that any tool of MLflow's loads."""

import warnings
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from flows.adapters.mlflow_import import quiet_mlflow
from flows.lead_model import LeadModel, pandas_input

if TYPE_CHECKING:
    import pandas as pd

_MODEL_PACKAGES = ("mlflow", "numba", "numpy", "pandas", "polars")
_PYFUNC_CODE = Path(__file__).with_name("pyfunc_model.py")


def save_pyfunc(folder: Path, model: LeadModel) -> None:
    """Write `folder/pyfunc`: an MLflow model of `pyfunc_model.py` and the lead model's files."""
    mlflow = quiet_mlflow()
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    model.save(folder / "lead_model")
    kinds = model.encoding.kinds()
    columns: list[ColSpec | TensorSpec] = [
        ColSpec("string" if is_category else "double", name) for name, is_category in kinds
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.pyfunc.save_model(
            folder / "pyfunc",
            python_model=str(_PYFUNC_CODE),
            artifacts={"lead_model": str(folder / "lead_model")},
            signature=ModelSignature(Schema(columns), Schema([ColSpec("double")])),
            input_example=_input_example(model),
            pip_requirements=[f"{name}=={metadata.version(name)}" for name in _MODEL_PACKAGES],
        )


def _input_example(model: LeadModel) -> "pd.DataFrame":
    """One made-up row: a zero for every number, the commonest level of every category."""
    row = {
        name: [next(iter(model.encoding.levels[name]), None) if is_category else 0.0]
        for name, is_category in model.encoding.kinds()
    }
    return pandas_input(pl.DataFrame(row), model.encoding)
