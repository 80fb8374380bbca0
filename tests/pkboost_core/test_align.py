import numpy as np
import pytest

from pkboost_core.align import align
from pkboost_core.reference import Reference, fit_reference
from pkboost_core.serialize import dumps, loads, register

register(Reference)


def population(n, seed, mean=0.0):
    """Three count-like columns, two that never repeat, one of codes; 0, 3 and 4 are correlated."""
    rng = np.random.default_rng(seed)
    z = rng.normal(mean, 1, n)
    skewed = np.exp(0.5 * z + 0.4 * rng.normal(size=n))
    return np.column_stack(
        [
            np.round(20 + 8 * z + 2 * rng.normal(size=n)),
            rng.poisson(4, n),
            np.round(rng.gamma(2, 30, n)),
            z + 0.3 * rng.normal(size=n),
            skewed,
            rng.integers(0, 6, n),
        ]
    ).astype(float)


TRAIN = population(4000, 0)
REFERENCE = fit_reference(TRAIN, categorical=[5])


def reasons(touched):
    return {t.column: t.reason for t in touched}


def error(aligned, clean, column):
    """Mean absolute distance to the undisturbed values, in standard deviations."""
    return float(np.mean(np.abs(aligned[:, column] - clean[:, column])) / clean[:, column].std())


@pytest.mark.parametrize("seed", range(1, 9))
def test_a_batch_of_the_same_population_is_left_alone(seed):
    batch = population(1500, seed)
    aligned, touched = align(REFERENCE, batch)
    assert touched == []
    assert aligned.tobytes() == batch.tobytes()


@pytest.mark.parametrize("mean", [-0.8, 0.5, 1.0])
def test_a_population_that_moves_is_left_alone_where_values_repeat(mean):
    batch = population(1500, 1, mean)
    aligned, touched = align(REFERENCE, batch)
    assert not {0, 1, 2} & set(reasons(touched))
    assert aligned[:, :3].tobytes() == batch[:, :3].tobytes()


@pytest.mark.parametrize(
    "disturb",
    [lambda x: 2.7 * x, lambda x: x + 13.37, lambda x: 0.31 * x - 4.2],
    ids=["units", "zero", "both"],
)
def test_other_units_are_undone(disturb):
    clean = population(1500, 2)
    batch = clean.copy()
    batch[:, [0, 3]] = disturb(batch[:, [0, 3]])
    aligned, touched = align(REFERENCE, batch)
    assert reasons(touched) == {0: "novel values", 3: "shape"}
    assert error(aligned, clean, 0) < 0.1
    assert error(aligned, clean, 3) < 0.1
    assert (aligned[:, [1, 2, 4, 5]] == clean[:, [1, 2, 4, 5]]).all()


def test_flipped_sign_is_restored_exactly_where_values_repeat():
    clean = population(1000, 3)
    batch = clean.copy()
    batch[:, 2] *= -1
    aligned, touched = align(REFERENCE, batch)
    assert [(t.column, t.reason, t.is_flipped) for t in touched] == [(2, "sign", True)]
    assert (aligned == clean).all()


def test_flipped_sign_of_a_symmetric_column_shows_in_its_correlations():
    clean = population(1500, 4)
    batch = clean.copy()
    batch[:, 3] *= -1
    aligned, touched = align(REFERENCE, batch)
    assert reasons(touched) == {3: "correlation"}
    assert error(aligned, clean, 3) < 0.1


def test_drift_along_the_batch_is_followed():
    clean = population(2000, 5)
    batch = clean.copy()
    batch[:, 2] += np.linspace(0.5, 100.5, 2000)
    aligned, _ = align(REFERENCE, batch)
    assert error(aligned, clean, 2) < 0.25 < error(batch, clean, 2)


def test_jump_in_the_middle_leaves_the_first_half_alone():
    clean = population(2000, 6)
    batch = clean.copy()
    batch[1000:, 2] += 0.5
    aligned, touched = align(REFERENCE, batch)
    assert touched[0].row_share == pytest.approx(0.5, abs=0.05)
    assert (aligned[:900] == clean[:900]).all()
    assert error(aligned, clean, 2) < 0.1


def test_outliers_become_missing():
    batch = population(1000, 7)
    hit = np.random.default_rng(0).random(1000) < 0.08
    batch[hit, 2] = 1e6
    aligned, touched = align(REFERENCE, batch)
    lost = np.isnan(aligned[:, 2])
    assert lost[hit].all()
    assert lost[~hit].mean() < 0.005
    assert reasons(touched) == {2: "outliers"}


def test_lumps_of_another_time_are_left_alone():
    batch = population(1000, 8)
    batch[:, 2] = np.repeat([333.25, 444.25], 500)
    aligned, touched = align(REFERENCE, batch)
    assert 2 not in reasons(touched)
    assert (aligned[:, 2] == batch[:, 2]).all()


def test_column_that_always_brought_new_values_is_left_alone():
    clock = np.repeat(np.arange(400.0), 10)[:, None]
    aligned, touched = align(fit_reference(clock), np.repeat(np.arange(400.0, 500.0), 10)[:, None])
    assert touched == []
    assert aligned.min() == 400


def test_codes_missing_values_and_infinities_stay():
    batch = population(600, 9)
    batch[:, 5] += 100
    batch[::7, 0], batch[1, 0], batch[2, 0] = np.nan, np.inf, -np.inf
    batch[:, 0] = 3.3 * batch[:, 0]
    aligned, _ = align(REFERENCE, batch)
    assert (aligned[:, 5] == batch[:, 5]).all()
    assert np.array_equal(np.isnan(aligned[:, 0]), np.isnan(batch[:, 0]))
    assert (aligned[1, 0], aligned[2, 0]) == (np.inf, -np.inf)


def test_reference_survives_the_model_file():
    again = loads(dumps(REFERENCE))
    batch = population(1000, 10)
    batch[:, [0, 3]] *= 2.5
    assert align(again, batch)[0].tobytes() == align(REFERENCE, batch)[0].tobytes()


def test_state_that_does_not_fit_is_refused():
    state = REFERENCE.to_state()
    with pytest.raises(ValueError, match="square"):
        Reference.from_state({**state, "columns": state["columns"][:2]})
    with pytest.raises(ValueError, match="ascending"):
        Reference.from_state(
            {**state, "columns": [{**state["columns"][0], "values": -state["columns"][0]["values"]}] * 6}
        )


@pytest.mark.parametrize("n", [0, 1, 30])
def test_small_batches_are_left_alone(n):
    batch = 5.5 * population(n, 1)
    aligned, touched = align(REFERENCE, batch)
    assert touched == []
    assert aligned.shape == batch.shape


def test_constant_and_empty_training_columns_are_never_touched():
    X = np.column_stack([np.ones(500), np.full(500, np.nan), np.arange(500) % 7])
    aligned, touched = align(fit_reference(X), X * 1.7 + 0.1)
    assert set(reasons(touched)) <= {2}
    assert np.isnan(aligned[:, 1]).all()


def test_wrong_width_is_refused():
    with pytest.raises(ValueError, match="6 columns"):
        align(REFERENCE, np.zeros((100, 5)))
