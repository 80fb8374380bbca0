import polars as pl
import pytest

from features.folds import assign_folds, groups
from features.spine import snapshot_dates, spine
from tests.features.window_labels import labelled
from tests.features.worlds import at, day, sources


def a_lead(lead_id: str, created: float = 0, known: float | None = None, **fields) -> dict:
    return {
        "lead_id": lead_id,
        "created_at": at(created),
        "known_at": at(created if known is None else known),
    } | fields


def an_outcome(lead_id: str, when: float, known: float | None = None, is_conversion: bool = True) -> dict:
    known_at = at(when if known is None else known)
    return {"lead_id": lead_id, "outcome_at": at(when), "known_at": known_at, "is_conversion": is_conversion}


def open_at(world, on: int, **options) -> list[str]:
    return spine(world, [day(on)], **{"max_age_days": 365} | options)["lead_id"].to_list()


@pytest.mark.parametrize(
    ("lead", "is_open"),
    [
        (a_lead("L", 9.9), True),
        (a_lead("L", 10), False),
        (a_lead("L", 5, known=10), False),
        (a_lead("L", 0, removed_at=at(9)), False),
        (a_lead("L", 0, removed_at=at(10)), True),
        (a_lead("L", -20), True),
        (a_lead("L", -20.1), False),
    ],
)
def test_a_lead_is_open_when_known_not_removed_and_not_too_old(lead, is_open):
    assert open_at(sources(lead=[lead]), 10, max_age_days=30) == (["L"] if is_open else [])


@pytest.mark.parametrize("is_conversion", [True, False])
def test_an_outcome_closes_the_lead_from_the_day_after_it_is_known(is_conversion):
    world = sources(lead=[a_lead("L")], outcome=[an_outcome("L", 5, known=8.5, is_conversion=is_conversion)])
    assert open_at(world, 8) == ["L"]
    assert open_at(world, 9) == []


def test_a_conversion_after_a_loss_does_not_open_the_lead_again():
    lost = an_outcome("L", 5, known=8.5, is_conversion=False)
    world = sources(lead=[a_lead("L")], outcome=[an_outcome("L", 30), lost])
    assert open_at(world, 8) == ["L"]
    assert open_at(world, 9) == open_at(world, 40) == []


def test_rows_of_a_lead_that_had_ended_count_until_that_is_known():
    world = sources(lead=[a_lead("L")], outcome=[an_outcome("L", 5, known=20)])
    rows = spine(world, [day(5), day(10)], max_age_days=365)
    on = {at: labelled(rows, world, day(at), 60)["snapshot_date"].to_list() for at in (20, 21)}
    assert on == {20: [day(5), day(10)], 21: [day(5)]}


def test_the_spine_is_sorted_and_carries_owner_and_account_of_the_snapshot():
    moved = {"entity": "lead", "entity_id": "B", "field": "owner_id", "value": "old", "valid_from": at(0)}
    world = sources(
        lead=[a_lead("B", owner_id="new", account_id="X"), a_lead("A")],
        field_history=[moved | {"valid_to": at(15)}, moved | {"value": "new", "valid_from": at(15)}],
    )
    rows = spine(world, [day(20), day(10), day(20)], max_age_days=99)
    assert rows.rows() == [
        ("A", day(10), None, None),
        ("B", day(10), "X", "old"),
        ("A", day(20), None, None),
        ("B", day(20), "X", "new"),
    ]


def test_no_leads_or_no_dates_give_an_empty_spine():
    assert spine(sources(), [day(1)], max_age_days=9).height == 0
    assert spine(sources(lead=[a_lead("L")]), [], max_age_days=9).columns == [
        "lead_id", "snapshot_date", "account_id", "owner_id"
    ]  # fmt: skip


def test_a_lead_listed_twice_is_refused():
    with pytest.raises(ValueError, match="lead_id 'L' appears more than once"):
        spine(sources(lead=[a_lead("L"), a_lead("L")]), [day(1)], max_age_days=9)


def test_training_snapshots_count_back_from_the_newest_mature_day():
    made = snapshot_dates(day(100), horizon_days=60, reporting_lag_days=7, every_days=14, window_days=29)
    assert made == [day(5), day(19), day(33)]


@pytest.mark.parametrize(("when", "expected"), [(9.999, 0), (10, 1), (69.999, 1), (70, 0)])
def test_the_label_window_is_half_open(when, expected):
    world = sources(lead=[a_lead("L")], outcome=[an_outcome("L", when)])
    rows = spine(sources(lead=[a_lead("L")]), [day(10)], max_age_days=99)
    made = labelled(rows, world, day(200), 60)
    assert made["label"].to_list() == ([] if when < 10 else [expected])


def test_wins_are_not_believed_before_negatives_are():
    world = sources(
        lead=[a_lead("L"), a_lead("M")], outcome=[an_outcome("L", 12), an_outcome("M", 12, known=90)]
    )
    rows = spine(world, [day(10)], max_age_days=99)
    early, mature, late = (labelled(rows, world, day(on), 60) for on in (76, 77, 91))
    assert (early["is_mature"].to_list(), early["label"].to_list()) == ([False] * 2, [None] * 2)
    assert (mature["is_mature"].to_list(), mature["label"].to_list()) == ([True] * 2, [1, 0])
    assert late["label"].to_list() == [1, 1]


def test_a_loss_is_a_negative():
    world = sources(lead=[a_lead("L")], outcome=[an_outcome("L", 12, is_conversion=False)])
    made = labelled(spine(world, [day(10)], max_age_days=99), world, day(200), 60)
    assert made["label"].to_list() == [0]


def rows_of(*pairs: tuple[str, str | None]) -> pl.DataFrame:
    rows = [(lead, day(i), account, None) for i, (lead, account) in enumerate(pairs)]
    return pl.DataFrame(rows, ["lead_id", "snapshot_date", "account_id", "owner_id"], orient="row").cast(
        {"account_id": pl.String}
    )


def test_groups_join_leads_through_accounts_and_accounts_through_leads():
    rows = rows_of(("a", "X"), ("b", "X"), ("b", "Y"), ("c", "Y"), ("d", None), ("e", None), ("d", "Z"))
    made = groups(rows).to_list()
    assert made[0] == made[1] == made[2] == made[3]
    assert made[4] == made[6]
    assert len(set(made)) == 3


def test_a_long_chain_is_one_group():
    pairs = [pair for i in range(500) for pair in ((f"l{i:03}", f"a{i}"), (f"l{i:03}", f"a{i + 1}"))]
    assert groups(rows_of(*pairs)).n_unique() == 1


def test_groups_of_nothing():
    assert groups(rows_of(("a", None)).clear()).to_list() == []


def test_folds_keep_groups_whole_and_are_about_equal():
    group = pl.Series("group", [i // 3 for i in range(90)] + [99] * 10)
    fold = assign_folds(group, 5, random_state=1)
    both = pl.DataFrame({"group": group, "fold": fold})
    assert both.unique().height == group.n_unique()
    sizes = both.group_by("fold").len()["len"]
    assert sizes.sum() == 100
    assert sizes.max() - sizes.min() <= 3
    assert fold.equals(assign_folds(group, 5, random_state=1))
    assert not fold.equals(assign_folds(group, 5, random_state=2))


def test_fewer_groups_than_folds_are_refused():
    with pytest.raises(ValueError, match="n_folds=3 needs as many groups, got 2"):
        assign_folds(pl.Series([1, 2]), 3, random_state=0)
