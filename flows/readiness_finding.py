"""What the doctor says about late labels: what each way of learning would have to train on tonight."""

from features.readiness import MIN_WINS, readiness
from flows.adapters.database import Database
from flows.adapters.settings import Settings
from flows.adapters.source_reader import read_sources
from flows.dataset import all_labels
from flows.finding import Finding
from flows.recipes import recipe_named
from flows.source_findings import data_clock


def readiness_finding(settings: Settings, database: Database) -> Finding:
    """Count mature, early and open rows at the data's clock, for the label treatment that is configured."""
    recipe, day = recipe_named(settings.recipe), data_clock(database).date()
    sources, _ = read_sources(database, day)
    _, labels = all_labels(sources, day, settings)
    found = readiness(labels, day, labels.delay_curve(day))
    detail = f"recipe {recipe.name}: {recipe.describe()}. {'; '.join(found.words())}"
    if found.mature_wins >= MIN_WINS:
        return Finding("readiness", "ok", detail)
    remedy = "wait for more history, or shorten LEADSCORE_HORIZON_DAYS: labels are believed only after it"
    return Finding("readiness", "warn", detail, remedy)
