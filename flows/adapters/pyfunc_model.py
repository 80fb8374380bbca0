"""The model as MLflow serves it: MLflow runs this file's copy inside the artefact ("models from code").

The artefact beside it is the folder of a `flows.lead_model.LeadModel`, so nothing is pickled; the process
that loads it needs leadscore installed. Input: one pandas column per feature. Output: probabilities, (n,).
"""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext

from flows.lead_model import LeadModel, from_pandas


class LeadScoringModel(PythonModel):
    """Probability that a lead converts within the model's horizon."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the lead model that was logged beside this file."""
        self._model = LeadModel.load(Path(context.artifacts["lead_model"]))

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> np.ndarray:
        """Score rows of features; NaN and None are missing values."""
        return self._model.predict_proba(from_pandas(model_input, self._model.encoding))


mlflow.models.set_model(LeadScoringModel())
