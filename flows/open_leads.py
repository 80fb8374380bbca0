"""Tonight's open leads with their features, built once for every model that looks at them."""

from datetime import date

import polars as pl

from features.sources import Sources
from flows.adapters.settings import Settings
from flows.dataset import scoring_set
from flows.lead_model import LeadModel


class OpenLeads:
    """Keys and features of the leads open on a date; models differ only in the custom columns they know."""

    def __init__(self, sources: Sources, as_of: date, settings: Settings) -> None:
        self._sources, self._as_of, self._settings = sources, as_of, settings
        self._built: dict[tuple[tuple[str, str], ...], pl.DataFrame] = {}

    def of(self, model: LeadModel) -> pl.DataFrame:
        """Return the frame with the custom columns that `model` was trained with."""
        kinds = model.encoding.attr_kinds
        key = tuple(sorted(kinds.items()))
        if key not in self._built:
            self._built[key] = scoring_set(self._sources, self._as_of, self._settings, kinds)
        return self._built[key]
