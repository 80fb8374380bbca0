"""Configuration: environment variables `LEADSCORE_*`, or `*_FILE` naming a file that holds a secret."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from flows.recipes import published_recipe


class Settings(BaseSettings):
    """What a night needs to know that is not in the data.

    Attributes
    ----------
    home : directory of all local state: embedded Postgres, Prefect's SQLite, artefacts, caches, reports.
    database_url : Postgres >= 14; when absent an embedded server runs under `home`.
    horizon_days, reporting_lag_days : the label: a conversion within `horizon_days` of the snapshot, believed
        `reporting_lag_days` later.
    snapshot_every_days, train_window_days : grid of training snapshots and how far back it reaches.
    max_lead_age_days : leads older than this at a snapshot are left out of the spine.
    min_train_positives : fewer mature conversions than this and training refuses.
    recipe : how a first model learns from leads that are still open, a name in `flows.recipes.RECIPES` whose
        models may be published.
    retrain_every_days : the champion is due for retraining when it is this old.
    retrain_inline : a night whose monitors ask for a search runs it itself; off where a Prefect automation
        does.
    holidays_file : days on which volume says nothing, one `2026-12-25` or `12-25` (every year) per line.
    page_webhook_url : where pages are posted as JSON {"text": ...}, as Slack takes it.
    page_mail_to, smtp_url : who gets pages by mail, through `smtp://USER:PASSWORD@HOST:PORT` or `smtps://`.
    search_rest_days : monitors get at most one search for a better recipe within so many days.
    shadow_days : a new recipe is watched beside the champion for so long before it takes over; 0: at once.
    history_days : published scores are kept for so long after the outcome of their leads is known.
    """

    model_config = SettingsConfigDict(
        env_prefix="LEADSCORE_", frozen=True, extra="forbid", validate_by_name=True
    )

    home: Path = Path(".leadscore")
    database_url: SecretStr | None = None
    mlflow_tracking_uri: str | None = Field(default=None, validation_alias="MLFLOW_TRACKING_URI")
    prefect_api_url: str | None = Field(default=None, validation_alias="PREFECT_API_URL")

    model_name: str = "lead-scoring"
    model_key: str = "lead-conversion"
    horizon_days: int = Field(default=60, ge=1, le=730)
    reporting_lag_days: int = Field(default=7, ge=0, le=180)
    snapshot_every_days: int = Field(default=7, ge=1, le=90)
    train_window_days: int = Field(default=365, ge=14)
    max_lead_age_days: int = Field(default=365, ge=1)
    min_train_positives: int = Field(default=40, ge=2)
    recipe: str = "soft"
    retrain_every_days: int = Field(default=1, ge=1)
    retrain_inline: bool = True
    holidays_file: Path | None = None
    page_webhook_url: SecretStr | None = None
    page_mail_to: str | None = None
    smtp_url: SecretStr | None = None
    search_rest_days: int = Field(default=7, ge=0)
    shadow_days: int = Field(default=7, ge=0)
    history_days: int = Field(default=365, ge=91)
    random_state: int = 7
    n_threads: int = Field(default_factory=lambda: min(os.cpu_count() or 1, 4), ge=1)

    @model_validator(mode="before")
    @classmethod
    def _read_secret_files(cls, values: dict[str, Any]) -> dict[str, Any]:
        for name in ("database_url", "page_webhook_url", "smtp_url"):
            path = os.environ.get(f"LEADSCORE_{name.upper()}_FILE")
            if path and not values.get(name):
                values[name] = Path(path).read_text().strip()
        return values

    @field_validator("recipe")
    @classmethod
    def _can_be_published(cls, name: str) -> str:
        return published_recipe(name).name

    @property
    def maturity(self) -> timedelta:
        """How long after a snapshot its labels are known."""
        return timedelta(days=self.horizon_days + self.reporting_lag_days)

    @property
    def root(self) -> Path:
        """The home as an absolute path."""
        return self.home.expanduser().resolve()
