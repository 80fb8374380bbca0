"""The doctor's readiness check counts what training would really use."""

from features.sources import as_of
from flows.adapters.database import Database
from flows.adapters.settings import Settings
from flows.adapters.source_reader import read_sources
from flows.commands.data import load_simulated_crm
from flows.dataset import training_set
from flows.progress import Progress
from flows.readiness_finding import readiness_finding
from flows.recipes import MATURE, SOFT
from simulator import SimulationConfig

CRM = SimulationConfig(n_leads=800, months=8, seed=11)


def test_the_counts_are_those_of_the_training_sets(database: Database):
    load_simulated_crm(database, CRM, Progress())
    settings = Settings(database_url=None, recipe="soft")
    finding = readiness_finding(settings, database)
    known = as_of(read_sources(database, CRM.end)[0], CRM.end)
    mature, soft = (training_set(known, CRM.end, settings, recipe) for recipe in (MATURE, SOFT))
    assert f"mature only: {len(mature.y):,} rows, {mature.n_positives:,} wins" in finding.detail
    assert f"soft labels: {len(soft.y):,} rows, {soft.n_positives:,} wins" in finding.detail
    assert finding.detail.startswith("recipe soft: mature labels, early wins and open leads")
    assert (finding.status == "warn") == (mature.n_positives < 100) == bool(finding.remedy)
