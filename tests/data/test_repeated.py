# SPDX-License-Identifier: Apache-2.0
"""Sequences that repeat a block: what is in them, and that they are new at each step."""

from __future__ import annotations

import pytest
import torch

from lightning_monocon.data.repeated import RepeatedBlocks


def test_each_sequence_repeats_a_block_of_the_right_length() -> None:
    data = RepeatedBlocks(vocabulary=1000, context=40, shortest=5, longest=9, batch_size=4, steps=3, val_size=6)
    data.setup("fit")
    batches = list(data.train_dataloader())
    assert [tuple(tokens.shape) for tokens, _ in batches] == [(4, 40)] * 3
    lengths = set()
    for tokens, labels in [*batches, *data.val_dataloader()]:
        assert torch.equal(tokens[:, 1:], labels[:, :-1])
        for row in tokens:
            (length,) = (n for n in range(1, 10) if torch.equal(row[n:], row[:-n]))
            lengths.add(length)
    assert lengths <= set(range(5, 10))
    assert len({tuple(row.tolist()) for tokens, _ in batches for row in tokens}) == 12


def test_the_seed_decides() -> None:
    one, again, other = (RepeatedBlocks(steps=2, seed=seed) for seed in (0, 0, 1))
    for data in (one, again, other):
        data.setup("fit")
    assert torch.equal(one.train.tensors[0], again.train.tensors[0])
    assert not torch.equal(one.train.tensors[0], other.train.tensors[0])


@pytest.mark.parametrize("options", [{"steps": 0}, {"longest": 128}, {"shortest": 65}])
def test_bad_sizes_are_named(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be positive, and the blocks must satisfy 1 <= shortest <= longest"):
        RepeatedBlocks(**options)  # type: ignore[arg-type]
