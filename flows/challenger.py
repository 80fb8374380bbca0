"""The model that challenges the champion tonight: the same recipe on newer data."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from features.sources import Sources
from flows.dataset import History
from flows.lead_model import LeadModel
from flows.monitors.compare import Comparison
from flows.open_cohorts import compare_on_open_cohorts
from flows.open_leads import OpenLeads
from flows.recipes import Recipe, recipe_of
from flows.score_mapping import ScoreMapping
from flows.training import Trained, train

if TYPE_CHECKING:
    from flows.night import Night


@dataclass(frozen=True)
class Challenge:
    """A model trained tonight, and what is known of it before it meets the champion.

    Attributes
    ----------
    cause : why it was trained.
    past : every row of tonight, with its features.
    kind : "nightly" or "search".
    comparison : with the champion, on rows neither was trained on; None where history is too short.
    is_new_recipe : whether it was made in another way than the champion.
    notes : what a search looked at, JSON-able, for the record.
    """

    trained: Trained
    cause: str
    past: History
    kind: str = "nightly"
    comparison: Comparison | None = None
    is_new_recipe: bool = False
    notes: dict[str, Any] = field(default_factory=dict)


def refit(
    night: "Night",
    sources: Sources,
    past: History,
    open_leads: OpenLeads,
    previous: LeadModel | None,
    champion: LeadModel | None,
    cause: str,
) -> Challenge:
    """Train the champion's recipe on everything known tonight, and compare the two.

    Parameters
    ----------
    past : every row of tonight, with its features.
    previous : the champion so far, whose recipe and score mapping are kept; None takes the recipe that the
        settings name.
    champion : the same where it can score tonight, else None: then there is nothing to compare with.

    Raises
    ------
    TooFewConversionsError
        Fewer leads with a mature conversion than the settings ask for.
    """
    recipe = None if previous is None else recipe_of(previous.recipe)
    trained = train_on(night, sources, past, recipe, previous)
    comparison = None
    if champion is not None:
        comparison = compare_on_open_cohorts(past, champion, trained.model, night.settings.random_state)
    return Challenge(trained, cause, past, comparison=comparison)


def train_on(
    night: "Night", sources: Sources, past: History, recipe: Recipe | None, previous: LeadModel | None
) -> Trained:
    """Train a recipe on a history that is built already; a grade keeps the meaning it has so far."""
    mapping = None if previous is None else ScoreMapping(**previous.recipe["score_mapping"])
    return train(
        sources, night.as_of, night.settings, night.label, night.data_sha256, mapping, recipe, past=past
    )
