# SPDX-License-Identifier: Apache-2.0
"""Batches of sequences: what is judged at each position, and in which stratum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lightning_monocon.watching.sequences import has_sequences, name_strata, read_sequences

TOKENS = torch.tensor([[5, 6, 5, 6, 5, 9], [1, 2, 3, 1, 2, 0]])
NEXT = torch.tensor([[6, 5, 6, 5, 9, -100], [2, 3, 1, 2, 0, -100]])
PADDED = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 0]])


@pytest.mark.parametrize(
    ("batch", "targets"),
    [
        ((TOKENS, NEXT), NEXT),  # shifted by the user
        ((TOKENS, TOKENS), NEXT),  # as the causal models of transformers take them
        ({"input_ids": TOKENS, "labels": TOKENS}, NEXT),
        ({"input_ids": TOKENS}, NEXT),
        (TOKENS, NEXT),
        ((TOKENS,), NEXT),
    ],
    ids=["shifted", "copies", "mapping", "mapping-without-labels", "tensor", "tuple-of-one"],
)
def test_the_target_of_a_position_is_the_next_token(batch: object, targets: torch.Tensor) -> None:
    assert has_sequences(batch)
    assert read_sequences(batch).targets.tolist() == targets.tolist()


def test_padding_is_not_judged() -> None:
    one = read_sequences({"input_ids": TOKENS, "attention_mask": PADDED})
    assert one.targets[1].tolist() == [2, 3, 1, 2, -100, -100]
    labels = TOKENS.clone()
    labels[0, :3] = -100  # a prompt
    assert read_sequences({"input_ids": TOKENS, "labels": labels}).targets[0].tolist() == [-100, -100, 6, 5, 9, -100]


def test_masked_labels_belong_to_their_own_position() -> None:
    masked, labels = TOKENS.clone(), torch.full_like(TOKENS, -100)
    masked[0, 1], labels[0, 1] = 103, 6
    one = read_sequences({"input_ids": masked, "labels": labels})
    assert not one.is_next
    assert one.targets.tolist() == labels.tolist()
    forced = read_sequences({"input_ids": masked, "labels": labels}, next_token=True)
    assert forced.targets[0].tolist() == [6, -100, -100, -100, -100, -100]


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("repetition", "first first repeated repeated first -, first first first repeated first -"),
        ("position", "early early early late late -, early early early late late -"),
        # 2 and 6 and 5 occur twice each, the others once
        ("frequency", "common common common common rare -, common rare rare common rare -"),
    ],
)
def test_strata(by: Any, expected: str) -> None:
    one = read_sequences(TOKENS)
    (names,) = name_strata([one], by)
    told = np.where(one.targets == -100, "-", names)
    assert ", ".join(" ".join(row) for row in told.tolist()) == expected


def test_masked_tokens_are_repeated_if_they_are_there_to_copy() -> None:
    masked, labels = TOKENS.clone(), torch.full_like(TOKENS, -100)
    masked[0, 1], labels[0, 1] = 103, 6  # another 6 is there
    masked[1, 5], labels[1, 5] = 103, 0  # no other 0
    (names,) = name_strata([read_sequences((masked, labels))], "repetition")
    assert (names[0, 1], names[1, 5]) == ("repeated", "first")


@pytest.mark.parametrize("values", [["law", "news"], torch.tensor([3, 4]), torch.tensor([[3] * 6, [4] * 6])])
def test_a_column_names_strata_and_is_no_input(values: object) -> None:
    one = read_sequences({"input_ids": TOKENS, "labels": NEXT, "domain": values}, "domain")
    (names,) = name_strata([one], "domain")
    assert names.shape == TOKENS.shape
    assert len(set(names[0])) == len(set(names[1])) == 1
    assert set(one.inputs) == {"input_ids"}


def test_labels_of_one_dimension_are_no_sequences() -> None:
    assert not has_sequences((TOKENS, torch.tensor([0, 1])))
    assert not has_sequences((torch.zeros(2, 3), None))


def test_an_unknown_column_is_named() -> None:
    with pytest.raises(
        ValueError, match="`strata` must be repetition, frequency, position, or an entry of the batch, "
    ):
        read_sequences({"input_ids": TOKENS}, "domain")
