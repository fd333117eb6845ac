# SPDX-License-Identifier: Apache-2.0
"""What two real gloo ranks make of cached gradients, uneven shards, class-balanced batches and sharded parameters."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.plain_runs import trainer
from helpers.scripts import run_ranks
from processes.ranks_fit import judged
from torch import nn

from lightning_monocon import MonoCon, SupConLoss
from lightning_monocon.callbacks import EmbeddingMetrics
from lightning_monocon.data import ClassBalancedBatchSampler

SCRIPT = Path(__file__).parents[1] / "processes" / "ranks_fit.py"
CLASSES, PER_CLASS, BATCH = 6, 3, 9  # as in the script


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the two ranks wrote."""
    place = tmp_path_factory.mktemp("ranks")
    run_ranks(SCRIPT, place)
    return place


@pytest.fixture(scope="module")
def ranks(folder: Path) -> list[dict[str, Any]]:
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2)]


def one_process(dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """The oracle: the same three steps on the global batches of 16, in plain torch."""
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 8))
    module = MonoCon(encoder, in_features=8, warmup_epochs=0).to(dtype)
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(3, 16, 6, generator=generator, dtype=torch.float64).to(dtype)
    labels = torch.randint(4, (3, 16), generator=generator)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2, weight_decay=1e-4)
    for x, y in zip(inputs, labels, strict=True):
        optimizer.zero_grad()
        SupConLoss(0.1)(module(x), y).backward()
        norm = nn.utils.clip_grad_norm_(module.parameters(), 0.05)
        assert norm > 0.05  # so that clipping does something
        optimizer.step()
    return module.state_dict()


@pytest.mark.parametrize("way", ["whole", "chunked"])
def test_uneven_ranks_take_the_steps_of_one_process_with_the_whole_batch(ranks: list[dict[str, Any]], way: str) -> None:
    truth = one_process(torch.float64)
    for rank in ranks:
        for name, value in truth.items():
            torch.testing.assert_close(rank[way]["weights"][name], value, rtol=1e-9, atol=1e-11, msg=name)


def test_chunks_are_averaged_over_the_ranks_once_a_step(ranks: list[dict[str, Any]]) -> None:
    # rank 0 has 4 chunks a step and rank 1 has 2
    for rank in ranks:
        assert rank["chunked"]["reductions"] == rank["whole"]["reductions"] >= 3


def test_balanced_batches_are_those_of_one_global_batch(ranks: list[dict[str, Any]]) -> None:
    first, second = (rank["sampler"] for rank in ranks)
    assert len(first) == len(second) == 3 * (CLASSES * 12 // (2 * BATCH))
    sampler = ClassBalancedBatchSampler([i % CLASSES for i in range(CLASSES * 12)], 2 * BATCH, PER_CLASS, seed=2)
    expected = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        expected += [[list(key) for key in batch] for batch in sampler]
    assert [a + b for a, b in zip(first, second, strict=True)] == expected
    for batch in first + second:
        assert set(Counter(index % CLASSES for _, index in batch).values()) == {PER_CLASS}


def test_an_epoch_of_two_ranks_holds_every_sample_once(ranks: list[dict[str, Any]]) -> None:
    keys = [tuple(key) for rank in ranks for batch in rank["sampler"] for key in batch]
    assert sorted(keys) == [(epoch, index) for epoch in range(3) for index in range(CLASSES * 12)]


def test_balanced_batches_go_on_in_the_middle_of_an_epoch(ranks: list[dict[str, Any]]) -> None:
    for rank in ranks:
        assert rank["resumed"] == rank["sampler"][6:]  # step 6 is the third of the second epoch's four


def test_both_ways_to_hand_over_the_batches_agree(ranks: list[dict[str, Any]]) -> None:
    for rank in ranks:
        assert rank["batch_sampler"] == rank["sampler"]


def test_the_trainer_does_not_replace_the_batches_silently(ranks: list[dict[str, Any]]) -> None:
    for rank in ranks:
        assert "set Trainer(use_distributed_sampler=False)" in rank["refused"]


def test_sharded_parameters_take_the_steps_of_one_process(ranks: list[dict[str, Any]], folder: Path) -> None:
    shares = [rank["sharded"] for rank in ranks]
    assert sum(share["local"] for share in shares) == shares[0]["whole"]
    assert all(0 < share["local"] < share["whole"] for share in shares)
    encoder = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 8))
    loaded = MonoCon.load_from_checkpoint(folder / "sharded.ckpt", encoder=encoder)
    for name, value in one_process(torch.float32).items():
        torch.testing.assert_close(loaded.state_dict()[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_a_watched_run_takes_the_same_steps_and_only_the_first_rank_watches(ranks: list[dict[str, Any]]) -> None:
    # the chunked run, whose weights are compared above, was watched; the other was not
    assert [rank["chunked"]["evaluations"] for rank in ranks] == [4, 0]  # the start and 3 steps
    # where parameters are sharded no rank can embed alone
    assert [rank["sharded"]["evaluations"] for rank in ranks] == [4, 4]


def test_ranks_that_evaluate_together_agree_on_when(ranks: list[dict[str, Any]]) -> None:
    # by its own clock, the second rank could not afford any evaluation but the last
    assert [rank["sharded"]["own clocks"] for rank in ranks] == [4, 4]
    assert ranks[0]["sharded"]["stopped"] == (0, "No space left on device")
    assert ranks[1]["sharded"]["stopped"] == (0, "it has stopped on another rank")


def test_metrics_of_sharded_parameters_and_uneven_shards(ranks: list[dict[str, Any]], folder: Path) -> None:
    found = {name: value for name, value in ranks[0]["sharded"]["metrics"].items() if name.startswith("val/")}
    assert found
    encoder = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 8))
    loaded = MonoCon.load_from_checkpoint(folder / "sharded.ckpt", encoder=encoder)
    judge = trainer(EmbeddingMetrics())
    judge.validate(loaded, judged(torch.float32), verbose=False)
    for name, value in found.items():
        assert ranks[1]["sharded"]["metrics"][name] == value
        assert judge.callback_metrics[name].item() == pytest.approx(value, rel=1e-5, abs=1e-6), name


def test_what_sharding_does_not_do_is_refused(ranks: list[dict[str, Any]]) -> None:
    for rank in ranks:
        found = rank["sharded"]
        assert found["learnt"].startswith("`loss` must not learn where parameters are sharded, got loss.temperature.")
        assert "data_parallel_size=<devices>, tensor_parallel_size=1" in found["tensor parallel"]
