# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from scipy.stats import kstest

from lightning_monocon.data.keyed_random import key, run_seed, uniform

EPOCHS = np.zeros(2000, dtype=np.int64)
INDICES = np.arange(2000, dtype=np.int64)


def test_a_number_depends_on_its_key_alone() -> None:
    together = uniform(3, EPOCHS, INDICES, 4)
    alone = np.concatenate([uniform(3, EPOCHS[:1], INDICES[i : i + 1], 4) for i in (0, 7, 1999)])
    np.testing.assert_array_equal(alone, together[[0, 7, 1999]])


@pytest.mark.parametrize("other", [(4, 0, 0), (3, 1, 0), (3, 0, 1)], ids=["seed", "epoch", "index"])
def test_every_part_of_the_key_matters(other: tuple[int, int, int]) -> None:
    seed, epoch, shift = other
    changed = uniform(seed, EPOCHS + epoch, INDICES + shift, 4)
    assert np.mean(changed == uniform(3, EPOCHS, INDICES, 4)) < 0.01


def test_the_numbers_are_uniform_and_uncorrelated() -> None:
    numbers = uniform(0, EPOCHS, INDICES, 4)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert kstest(numbers.ravel(), "uniform").pvalue > 1e-3
    off_diagonal = np.corrcoef(numbers.T) - np.eye(4)
    assert np.abs(off_diagonal).max() < 4 / np.sqrt(len(numbers))
    lagged = np.corrcoef(numbers[:-1, 0], numbers[1:, 0])[0, 1]
    assert abs(lagged) < 4 / np.sqrt(len(numbers))


def test_key_depends_on_the_order_of_its_parts() -> None:
    assert key(1, 2) != key(2, 1)
    assert key(1, "a") == key(1, "a")
    assert 0 <= key(-5) < 2**63


def test_run_seed_prefers_the_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    assert run_seed(3) == 3
    assert run_seed(None) == 7
    monkeypatch.delenv("PL_GLOBAL_SEED")
    assert run_seed(None) == 0
