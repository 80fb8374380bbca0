"""Recipes say what they are, refuse what they cannot be, and survive being stored."""

import json

import pytest
from pydantic import ValidationError

from flows.adapters.settings import Settings
from flows.recipes import MATURE, RECIPES, SOFT, Recipe, candidates, recipe_named, recipe_of


def test_recipes_survive_json_and_models_without_one_are_mature():
    for recipe in RECIPES.values():
        assert recipe_of(json.loads(json.dumps({"recipe": recipe.as_dict()}))) == recipe
    assert recipe_of({"score_mapping": {}}) == MATURE


def test_a_recipe_says_what_it_learns_from():
    assert SOFT.describe() == (
        "mature labels, early wins and open leads by their chance to win yet; the whole training window"
    )
    said = Recipe("x", "mature", 90, 60.0).describe()
    assert said == "mature labels only; the newest 90 days; weights halve every 60 days"
    assert len({recipe.describe() for recipe in RECIPES.values()}) == len(RECIPES)


def test_a_search_tries_both_labels_in_every_window_that_is_shorter_than_all():
    names = [recipe.name for recipe in candidates(Settings(database_url=None))]
    assert len(names) == len(set(names)) == 12
    assert {"mature", "soft", "mature-180d", "soft-90d", "soft-half-life-60d", "repair"} < set(names)
    short = candidates(Settings(database_url=None, train_window_days=120))
    assert {recipe.window_days for recipe in short} == {None, 90}
    assert all(recipe.labels != "buckets" for recipe in short)


def test_the_settings_name_a_recipe_that_exists():
    assert recipe_named(Settings(database_url=None).recipe) == SOFT
    with pytest.raises(ValueError, match="recipe 'sotf' is unknown; the recipes are mature, mature-180d"):
        recipe_named("sotf")


def test_the_settings_refuse_a_recipe_that_no_night_could_use():
    with pytest.raises(ValidationError, match="'buckets' can be compared but not published; choose one of"):
        Settings(database_url=None, recipe="buckets")
    with pytest.raises(ValidationError, match="recipe 'sotf' is unknown"):
        Settings(database_url=None, recipe="sotf")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": ""}, "a recipe needs a name"),
        ({"labels": "hard"}, "labels='hard' is unknown; expected one of mature, soft, buckets"),
        ({"window_days": 0}, "window_days=0 should be at least 1"),
        ({"half_life_days": 0.0}, "half_life_days=0.0 should be positive and finite"),
        (
            {"repair": "glue"},
            "repair='glue' with mature labels is impossible; expected regrow or refit-leaves",
        ),
        ({"repair": "regrow", "labels": "soft"}, "with soft labels is impossible"),
        ({"half_life_days": float("nan")}, "half_life_days=nan should be positive"),
    ],
)
def test_impossible_recipes_are_refused(change, message):
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        Recipe(**({"name": "x"} | change))
