"""Recipes: which rows a model learns from, how their labels are treated and how fast old rows fade."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from flows.adapters.settings import Settings

Labels = Literal["mature", "soft", "buckets"]
Repair = Literal["regrow", "refit-leaves"]

REPAIR_DAYS = 84
"""A repair learns from leads that are first seen in the newest so many mature days; what it repairs, from the
rows before."""
WINDOWS_DAYS = (180, 90)
HALF_LIVES_DAYS = (180.0, 60.0)


@dataclass(frozen=True)
class Recipe:
    """One way to learn from leads of which the newest are still open.

    Attributes
    ----------
    name : what the recipe is called in settings, records and reports.
    labels : "mature": only rows whose label window and reporting lag have passed; "soft": also early wins and
        open rows, whose label is their chance to win yet (Chapelle 2014); "buckets": one model per delay
        bucket, each on the rows mature for it.
    window_days : only snapshots of that many days up to the newest mature one, and everything newer that
        `labels` admits; None: all of `Settings.train_window_days`.
    half_life_days : a row this much older than another weighs half as much; None: all weigh the same.
    repair : None fits all rows at once; else a model of what is older than `REPAIR_DAYS` is repaired by
        leads that came since, where that helps: "regrow" drops trees that hurt and grows new ones,
        "refit-leaves" keeps the trees and moves their values.

    Raises
    ------
    ValueError
        A field is out of range.
    """

    name: str
    labels: Labels = "mature"
    window_days: int | None = None
    half_life_days: float | None = None
    repair: Repair | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a recipe needs a name")
        if self.labels not in get_args(Labels):
            known = ", ".join(get_args(Labels))
            raise ValueError(
                f"recipe {self.name!r}: labels={self.labels!r} is unknown; expected one of {known}"
            )
        if self.window_days is not None and self.window_days < 1:
            raise ValueError(f"recipe {self.name!r}: window_days={self.window_days} should be at least 1")
        if self.half_life_days is not None and not 0 < self.half_life_days < float("inf"):
            raise ValueError(
                f"recipe {self.name!r}: half_life_days={self.half_life_days} should be positive and finite"
            )

        if self.repair is not None and (self.repair not in get_args(Repair) or self.labels != "mature"):
            known = " or ".join(get_args(Repair))
            raise ValueError(
                f"recipe {self.name!r}: repair={self.repair!r} with {self.labels} labels is impossible;"
                f" expected {known}, with mature labels"
            )

    @property
    def is_published(self) -> bool:
        """Whether its models may be published: one sum of trees, about which reasons can be exact."""
        return self.labels != "buckets"

    def describe(self) -> str:
        """Say in words what the recipe learns from."""
        what = {
            "mature": "mature labels only",
            "soft": "mature labels, early wins and open leads by their chance to win yet",
            "buckets": "one model per delay bucket, each on the rows mature for it",
        }[self.labels]
        window = f"the newest {self.window_days} days" if self.window_days else "the whole training window"
        half_life = self.half_life_days
        fading = f"; weights halve every {half_life:g} days" if half_life else ""
        repair = {
            None: "",
            "regrow": f"; trees that hurt on leads of the newest {REPAIR_DAYS} days are grown anew",
            "refit-leaves": f"; values of leaves are fitted anew on leads of the newest {REPAIR_DAYS} days",
        }[self.repair]
        return f"{what}; {window}{fading}{repair}"

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-able values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Recipe":
        """Return the recipe that `as_dict` described."""
        return cls(**values)


MATURE = Recipe("mature")
SOFT = Recipe("soft", "soft")
BUCKETS = Recipe("buckets", "buckets")
REPAIRED = (Recipe("repair", repair="regrow"), Recipe("refit-leaves", repair="refit-leaves"))


def _variants(base: Recipe) -> list[Recipe]:
    windows = [Recipe(f"{base.name}-{days}d", base.labels, days) for days in WINDOWS_DAYS]
    fading = [Recipe(f"{base.name}-half-life-{days:g}d", base.labels, None, days) for days in HALF_LIVES_DAYS]
    return [base, *windows, *fading]


RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe for recipe in [*_variants(MATURE), *_variants(SOFT), *REPAIRED, BUCKETS]
}


def recipe_named(name: str) -> Recipe:
    """Return the recipe of that name.

    Raises
    ------
    ValueError
        There is none; the message lists them.
    """
    if name not in RECIPES:
        raise ValueError(f"recipe {name!r} is unknown; the recipes are {', '.join(RECIPES)}")
    return RECIPES[name]


def published_recipe(name: str) -> Recipe:
    """Return the recipe of that name, whose models may be published.

    Raises
    ------
    ValueError
        There is none; the message lists them.
    """
    recipe = recipe_named(name)
    if not recipe.is_published:
        others = ", ".join(one.name for one in RECIPES.values() if one.is_published)
        raise ValueError(f"recipe {name!r} can be compared but not published; choose one of {others}")
    return recipe


def recipe_of(stored: Mapping[str, Any]) -> Recipe:
    """Return the recipe in a `LeadModel.recipe`; models older than recipes learnt from mature labels."""
    return Recipe.from_dict(stored["recipe"]) if "recipe" in stored else MATURE


def candidates(settings: "Settings") -> list[Recipe]:
    """Return what a search for a better recipe tries: mature and soft labels, windows, half-lives, repairs.

    Windows that reach as far back as the training window are the same as all of it and left out, and so is
    what is not published.
    """
    return [
        recipe
        for recipe in RECIPES.values()
        if recipe.is_published and (recipe.window_days or 0) < settings.train_window_days
    ]
