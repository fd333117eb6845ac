# SPDX-License-Identifier: Apache-2.0
"""Sparse parities: their labels, and what no sum of bits can tell of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lightning_monocon.data.parity import SparseParity


def test_labels_count_the_signs_of_the_relevant_bits() -> None:
    """The oracle counts minus signs: the parity of three bits is even, a 1, where none or two of them are -1."""
    data = SparseParity(bits=10, relevant=3, parities=2, train_size=500, val_size=200, batch_size=50)
    data.setup("fit")
    for part in (data.train, data.val):
        signs, labels = (tensor.numpy() for tensor in part.tensors)
        assert set(np.unique(signs)) == {-1.0, 1.0}
        first, second = ((signs[:, at : at + 3] < 0).sum(axis=1) % 2 == 0 for at in (0, 3))
        assert np.array_equal(labels, first + 2 * second)
        assert set(np.unique(labels)) == {0, 1, 2, 3} == set(range(data.num_classes))


def test_no_two_bits_tell_anything_of_three() -> None:
    data = SparseParity(bits=6, relevant=3, train_size=20_000, val_size=1, batch_size=64)
    data.setup("fit")
    signs, labels = (tensor.double() for tensor in data.train.tensors)
    pairs = torch.cat([signs, (signs[:, :, None] * signs[:, None]).flatten(1)], dim=1)
    told = (pairs * (2 * labels - 1)[:, None]).mean(dim=0).abs()
    assert told.max() < 5 / 20_000**0.5, "five standard errors of nothing"


def test_the_train_set_comes_again_in_another_order() -> None:
    data = SparseParity(train_size=130, val_size=30, batch_size=64)
    data.setup("fit")
    passes = [[signs for signs, _ in data.train_dataloader()] for _ in range(2)]
    assert [tuple(batch.shape) for batch in passes[0]] == [(64, 40)] * 2
    assert not torch.equal(passes[0][0], passes[1][0])
    known = {tuple(row.tolist()) for row in data.train.tensors[0]}
    assert all(tuple(row.tolist()) in known for batches in passes for batch in batches for row in batch)
    gallery, query = data.val_dataloader()
    assert [len(next(iter(loader))[1]) for loader in (gallery, query)] == [130, 30]


def test_the_held_out_strings_do_not_depend_on_the_size_of_the_train_set() -> None:
    sets = [SparseParity(train_size=size, val_size=50) for size in (100, 400)]
    for data in sets:
        data.setup("fit")
    assert torch.equal(sets[0].val.tensors[0], sets[1].val.tensors[0])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"relevant": 0}, "`relevant` must be positive, got 0"),
        ({"val_size": 0}, "`val_size` must be positive, got 0"),
        ({"bits": 8, "parities": 3}, "`bits` must be at least relevant x parities = 9"),
        ({"train_size": 32}, "`train_size` must be at least one batch of 64, got 32. Lower `batch_size`"),
    ],
)
def test_bad_sizes_are_named(options: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SparseParity(**options)  # type: ignore[arg-type]
