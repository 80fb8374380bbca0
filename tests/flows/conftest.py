"""Nights on real parts: one Prefect server for the session, a simulated CRM for each module that asks."""

import logging
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.adapters.database import Database
from flows.adapters.prefect_server import PrefectRuntime, prefect_runtime
from flows.adapters.settings import Settings
from flows.commands.data import load_simulated_crm
from flows.progress import Progress
from simulator import SimulationConfig

SMALL_CRM = SimulationConfig(n_leads=3_000, months=14, seed=5)


@pytest.fixture(scope="session")
def prefect() -> Iterator[PrefectRuntime]:
    """A Prefect server as one-shot commands start it."""
    home = Path(tempfile.mkdtemp(prefix="ls-prefect-", dir="/tmp"))
    with prefect_runtime(Settings(home=home, prefect_api_url=None)) as runtime:
        runtime.wait_ready()
        yield runtime
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def settings(
    database_url: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Settings:
    """Settings of an installation of its own: fresh home, fresh database, fresh registry."""
    name = request.module.__name__.rpartition(".")[2]
    home = tmp_path_factory.mktemp(f"{name}-home")
    return Settings(
        home=home,
        database_url=database_url,
        mlflow_tracking_uri=f"sqlite:///{home}/mlflow.db",
        prefect_api_url=None,
    )


@pytest.fixture(scope="module")
def simulated(database: Database, prefect: PrefectRuntime) -> Database:
    """The module's database with a small simulated CRM as its source."""
    load_simulated_crm(database, SMALL_CRM, Progress())
    return database


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    """Give the root logger back its handlers: commands put their own in place."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers, root.level = handlers, level
    logging.captureWarnings(False)
