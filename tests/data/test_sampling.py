# SPDX-License-Identifier: Apache-2.0
import pytest

from lightning_monocon.data import EpochSampler, ShardSampler, sampling


def ranks_of(monkeypatch: pytest.MonkeyPatch, ranks: int, size: int) -> list[EpochSampler]:
    samplers = []
    for rank in range(ranks):
        monkeypatch.setattr(sampling, "world", lambda rank=rank: (rank, ranks))
        samplers.append(EpochSampler(size, seed=1))
    return samplers


def test_an_epoch_is_a_permutation_and_epochs_differ() -> None:
    sampler = EpochSampler(17, seed=1)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert sorted(index for _, index in first) == list(range(17))
    assert {epoch for epoch, _ in second} == {1}
    assert [index for _, index in first] != [index for _, index in second]


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    sampler, again = EpochSampler(17, seed=1), EpochSampler(17, seed=1)
    list(sampler)
    for each in (sampler, again):
        each.set_epoch(5)
    assert list(sampler) == list(again)
    assert list(EpochSampler(17, seed=2)) != list(EpochSampler(17, seed=1))


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_ranks_share_an_epoch_without_overlap(monkeypatch: pytest.MonkeyPatch, ranks: int) -> None:
    shares = [list(sampler) for sampler in ranks_of(monkeypatch, ranks, 17)]
    assert {len(share) for share in shares} == {17 // ranks}
    drawn = [index for share in shares for _, index in share]
    assert len(set(drawn)) == len(drawn) == 17 // ranks * ranks


def test_resume_starts_in_the_middle_and_only_once() -> None:
    whole = EpochSampler(17, seed=1)
    whole.set_epoch(4)
    sampler = EpochSampler(17, seed=1)
    sampler.resume(epoch=4, first=6)
    sampler.set_epoch(0)  # Lightning's word comes too late or too early; the resumed epoch stands
    assert list(sampler) == list(whole)[6:]
    sampler.set_epoch(5)
    assert len(list(sampler)) == 17


def test_too_few_samples_for_the_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"`size` must be at least one sample per rank \(3\), got 2"):
        ranks_of(monkeypatch, 3, 2)


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_shards_hold_every_sample_exactly_once(monkeypatch: pytest.MonkeyPatch, ranks: int) -> None:
    drawn: list[int] = []
    for rank in range(ranks):
        monkeypatch.setattr(sampling, "world", lambda rank=rank: (rank, ranks))
        sampler = ShardSampler(10)
        assert len(sampler) == len(list(sampler))
        drawn += list(sampler)
    assert sorted(drawn) == list(range(10))
