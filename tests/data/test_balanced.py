# SPDX-License-Identifier: Apache-2.0
from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch.utils.data import BatchSampler, SequentialSampler

from lightning_monocon.data import ClassBalancedBatchSampler, balanced
from lightning_monocon.data.balanced import deal

EVEN = np.arange(240) % 12  # 12 classes of 20
UNEVEN = np.repeat([3, 5, 8], [4, 30, 86])


def batches(labels: np.ndarray, batch_size: int, per_class: int, epoch: int = 0, seed: int = 1) -> list[list[int]]:
    sampler = ClassBalancedBatchSampler(labels, batch_size, per_class, seed)
    sampler.set_epoch(epoch)
    return [[index for _, index in batch] for batch in sampler]


@pytest.mark.parametrize(
    ("labels", "batch_size", "per_class"), [(EVEN, 20, 4), (EVEN, 21, 7), (EVEN, 48, 4), (UNEVEN, 6, 3), (UNEVEN, 8, 4)]
)
def test_a_batch_holds_distinct_classes_with_distinct_samples(
    labels: np.ndarray, batch_size: int, per_class: int
) -> None:
    drawn = [batch for epoch in range(4) for batch in batches(labels, batch_size, per_class, epoch)]
    assert len(drawn) == 4 * (len(labels) // batch_size)
    for batch in drawn:
        assert len(set(batch)) == batch_size
        assert set(Counter(labels[batch]).values()) == {per_class}


@pytest.mark.parametrize("labels", [EVEN, UNEVEN], ids=["even", "uneven"])
def test_classes_and_their_samples_are_drawn_equally_often(labels: np.ndarray) -> None:
    indices = np.concatenate(batches(labels, 8, 4))
    visits = np.unique(labels[indices], return_counts=True)[1] // 4
    assert visits.max() - visits.min() <= 1
    times = np.bincount(indices, minlength=len(labels))
    for name in np.unique(labels):
        of_class = times[labels == name]
        assert of_class.max() - of_class.min() <= 1


def test_even_classes_are_seen_once_and_nearly_whole() -> None:
    times = np.bincount(np.concatenate(batches(EVEN, 24, 4)), minlength=240)
    assert set(times) == {1}
    times = np.bincount(np.concatenate(batches(EVEN, 28, 4)), minlength=240)  # 8 batches: 56 visits for 12 classes
    assert (times == 1).sum() == 224


def test_over_epochs_every_sample_comes_equally_often() -> None:
    drawn = np.concatenate([np.concatenate(batches(EVEN, 28, 4, epoch)) for epoch in range(300)])
    # 16 of 240 are left out an epoch: counts scatter less than a free draw's, never more
    assert chisquare(np.bincount(drawn, minlength=240)).pvalue > 0.5


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    assert batches(EVEN, 20, 4, epoch=3) == batches(EVEN, 20, 4, epoch=3)
    assert batches(EVEN, 20, 4, epoch=3) != batches(EVEN, 20, 4, epoch=4)
    assert batches(EVEN, 20, 4, seed=1) != batches(EVEN, 20, 4, seed=2)


def test_keys_hold_the_epoch_and_tell_repetitions_apart() -> None:
    sampler = ClassBalancedBatchSampler(UNEVEN, 8, 4, seed=0)
    sampler.set_epoch(5)
    keys = [key for batch in sampler for key in batch]
    assert len(set(keys)) == len(keys)  # a rare sample that comes again has a key, and an augmentation, of its own
    assert {epoch % 2**32 for epoch, _ in keys} == {5}
    repeated = Counter(index for _, index in keys)
    assert max(repeated.values()) > 1
    for index, times in repeated.items():
        assert sorted(epoch >> 32 for epoch, other in keys if other == index) == list(range(times))


@pytest.mark.parametrize("ranks", [2, 3])
def test_the_ranks_share_what_one_rank_would_draw(monkeypatch: pytest.MonkeyPatch, ranks: int) -> None:
    whole = batches(EVEN, 48, 4)
    shares = []
    for rank in range(ranks):
        monkeypatch.setattr(balanced, "world", lambda rank=rank: (rank, ranks))
        shares.append(batches(EVEN, 48 // ranks, 4))
    assert {len(share) for share in shares} == {len(whole)}
    assert [[index for part in parts for index in part] for parts in zip(*shares, strict=True)] == whole


def test_more_ranks_than_classes_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(balanced, "world", lambda: (1, 2))
    for batch in batches(EVEN, 48, 4):  # 24 groups a step, 12 classes
        assert set(Counter(EVEN[batch]).values()) == {4}


def test_resume_starts_in_the_middle_and_only_once() -> None:
    whole = batches(EVEN, 20, 4, epoch=4)
    sampler = ClassBalancedBatchSampler(EVEN, 20, 4, seed=1)
    sampler.resume(epoch=4, batch=7)
    sampler.set_epoch(0)  # the trainer's word comes too late or too early; the resumed epoch stands
    assert [[index for _, index in batch] for batch in sampler] == whole[7:]
    sampler.set_epoch(5)
    assert len(list(sampler)) == len(sampler) == 12


def test_one_key_at_a_time_gives_the_same_batches() -> None:
    sampler = ClassBalancedBatchSampler(EVEN, 20, 4, seed=1)
    assert list(BatchSampler(sampler.sampler, 20, drop_last=True)) == list(sampler)
    assert len(sampler.sampler) == 20 * len(sampler)


@pytest.mark.parametrize(("cards", "hand"), [(5, 5), (7, 3), (9, 1), (6, 4)])
def test_dealing_is_fair_and_no_hand_repeats(cards: int, hand: int) -> None:
    hands = deal(cards, hand, 50, torch.Generator().manual_seed(0))
    assert hands.shape == (50, hand)
    assert all(len(set(one.tolist())) == hand for one in hands)
    for dealt in range(1, 50 * hand, 7):
        counts = torch.bincount(hands.flatten()[:dealt], minlength=cards)
        assert counts.max() - counts.min() <= 1


def test_dealing_begins_anywhere() -> None:
    generator = torch.Generator().manual_seed(0)
    first = torch.stack([deal(6, 4, 2, generator)[1] for _ in range(1000)]).flatten()
    assert chisquare(torch.bincount(first, minlength=6)).pvalue > 1e-3


@pytest.mark.parametrize(
    ("labels", "batch_size", "per_class", "sentence"),
    [
        ([0, 0, 1], 2, 2, r"hold at least `per_class` = 2 .*; 1 class\(es\) hold fewer: 1 \(1\), as .* to them\.$"),
        ([7] * 3 + [8] * 9, 8, 4, r"hold fewer: 7 \(3\), as class \(samples\)\. .* or lower per_class to 3"),
        (EVEN, 22, 4, "`batch_size` must be a multiple of `per_class`, .* got 22 and 4"),
        (EVEN, 20, 1, "that at least 2 to hold a positive pair; got 20 and 1"),
        (EVEN, 0, 4, "got 0 and 4"),
        (EVEN, 52, 4, "= 13 classes in a batch must not exceed the 12 classes there are"),
        ([0] * 3 + [1] * 3, 8, 4, r"`batch_size` times the 1 rank\(s\) must not exceed the 6 samples, got 8"),
    ],
)
def test_what_does_not_fit_is_refused(labels: list[int], batch_size: int, per_class: int, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        ClassBalancedBatchSampler(labels, batch_size, per_class)


def test_replacement_and_short_batches_are_refused() -> None:
    with pytest.raises(
        RuntimeError, match=r"would replace the order .*, or set Trainer\(use_distributed_sampler=False"
    ):
        ClassBalancedBatchSampler(SequentialSampler(range(9)), batch_size=8, drop_last=True)
    with pytest.raises(ValueError, match="`drop_last` must be True"):
        ClassBalancedBatchSampler(EVEN, 8, drop_last=False)
