# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_monocon.data.splits import noisy_labels, split_hash, stratified_split


@given(counts=st.lists(st.integers(2, 30), min_size=1, max_size=6), share=st.floats(0.05, 0.45), seed=st.integers(0, 9))
def test_every_class_gives_its_share(counts: list[int], share: float, seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    size = max(1, int(share * len(labels)))
    rest, part = stratified_split(labels, size, seed)
    assert len(part) == size
    np.testing.assert_array_equal(np.sort(np.concatenate([rest, part])), np.arange(len(labels)))
    given_away = np.bincount(labels[part], minlength=len(counts))
    assert np.abs(given_away - np.array(counts) * size / len(labels)).max() < 1


def test_a_split_is_a_function_of_its_seed() -> None:
    labels = np.repeat(np.arange(4), 50)
    hashes = [split_hash(labels, *stratified_split(labels, 40, seed)) for seed in (0, 0, 1)]
    # written down, for the numbers must not change with a version of anything
    assert hashes == ["019c142a67cbd391", "019c142a67cbd391", "d3d74671ab65f550"]


def test_the_hash_knows_samples_parts_and_labels() -> None:
    labels = np.array([0, 1, 0, 1])
    first, second = np.array([0, 1]), np.array([2, 3])
    base = split_hash(labels, first, second)
    assert base != split_hash(labels, second, first)
    assert base != split_hash(labels, first)
    assert base != split_hash(labels[::-1], first, second)


@pytest.mark.parametrize(
    ("labels", "size", "sentence"),
    [
        ([0, 0, 1, 1], 4, r"`size` must leave samples on both sides, got 4 of 4"),
        ([0, 0, 1, 1], 0, r"`size` must leave samples on both sides, got 0 of 4"),
        ([0, 0, 0, 1], 3, r"`labels` must hold more samples of class 1 than a split takes, got 1"),
    ],
)
def test_what_cannot_be_split(labels: list[int], size: int, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        stratified_split(np.array(labels), size, 0)


def test_the_share_of_labels_asked_for_becomes_each_other_class_equally_often() -> None:
    labels = np.repeat([0, 2, 3], 3000)
    part = np.arange(0, 9000, 2)
    noisy = noisy_labels(labels, part, 0.2, seed=0)
    changed = np.flatnonzero(noisy != labels)
    assert len(changed) == 900 and set(changed) <= set(part)
    pairs = np.unique(np.stack([labels[changed], noisy[changed]]), axis=1, return_counts=True)[1]
    assert len(pairs) == 6 and np.abs(pairs - 150).max() < 4 * 150**0.5
    np.testing.assert_array_equal(noisy, noisy_labels(labels, part, 0.2, seed=0))
    assert (noisy != noisy_labels(labels, part, 0.2, seed=1)).any()
    with pytest.raises(ValueError, match="`label_noise` needs two classes at least; all labels are 5"):
        noisy_labels(np.full(4, 5), np.arange(4), 0.5, seed=0)
