# SPDX-License-Identifier: Apache-2.0
"""Two real gloo processes against one process with the whole batch."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.scripts import run_two_ranks
from torch.testing import assert_close

from lightning_monocon.distributed import gather_rows, is_distributed
from lightning_monocon.losses import ClipLoss, SupConLoss

SCRIPT = Path(__file__).parent / "processes" / "gather_ranks.py"
SPEC = importlib.util.spec_from_file_location("ranks", SCRIPT)
assert SPEC is not None and SPEC.loader is not None
ranks = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(ranks)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two ranks computed for every case."""
    folder = tmp_path_factory.mktemp("ranks")
    run_two_ranks(SCRIPT, folder)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


def test_without_a_process_group_nothing_happens() -> None:
    rows = torch.randn(3, 2, requires_grad=True)
    assert not is_distributed()
    assert gather_rows(rows) is rows


def test_rows_of_uneven_ranks_in_order(results: list[dict[str, Any]]) -> None:
    for rank, counts in enumerate([(0, 3), (3, 5)]):
        got = results[rank]["gather"]
        assert_close(got["rows"], torch.arange(10.0).view(5, 2) + 1)
        assert got["labels"].tolist() == [1, 2, 3]
        # the ranks pulled with weights 1 and 2, so every row is pulled with 3
        assert_close(got["grad"], 3 * torch.arange(10.0).view(5, 2)[slice(*counts)])


@pytest.mark.parametrize("name", list(ranks.CASES))
def test_two_ranks_train_as_one(results: list[dict[str, Any]], name: str) -> None:
    _, rules, dtype = ranks.CASES[name]
    rules = rules | {"backend": "torch"}
    expected = ranks.step(ranks.Learner(**rules).to(dtype), *ranks.data(dtype=dtype))
    tolerance = {"rtol": 1e-6, "atol": 1e-6} if dtype == torch.float32 else {"rtol": 1e-9, "atol": 1e-12}
    for rank in (0, 1):
        assert_close(results[rank][name], expected, **tolerance)


@pytest.mark.parametrize("name", list(ranks.BETWEEN))
def test_two_ranks_contrast_two_sets_as_one(results: list[dict[str, Any]], name: str) -> None:
    counts, rows, rules = ranks.BETWEEN[name]
    expected = ranks.step_between(counts, rows, rules)
    assert expected["loss"] > 1
    first, second = (results[rank][f"between, {name}"] for rank in (0, 1))
    for side in ("anchors", "contrast"):
        assert_close(torch.cat([first[side], second[side]]), expected[side], rtol=1e-9, atol=1e-12)
    for number in ("loss", "temperature"):
        assert_close(first[number], expected[number], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", list(ranks.PAIRS))
def test_two_ranks_judge_pairs_as_one(results: list[dict[str, Any]], name: str) -> None:
    expected = ranks.step_of_pairs(*ranks.PAIRS[name])
    parts = [results[rank][f"pairs, {name}"] for rank in (0, 1)]
    for loss in ("clip", "siglip"):
        assert expected[f"{loss} loss"] > 0.1
        for side in ("first", "second"):
            whole = torch.cat([part[f"{loss} {side}"] for part in parts])
            assert_close(whole, expected[f"{loss} {side}"], rtol=1e-9, atol=1e-12)
        for number in ("loss", "numbers"):
            for part in parts:
                assert_close(part[f"{loss} {number}"], expected[f"{loss} {number}"], rtol=1e-9, atol=1e-12)


def test_ranks_can_keep_to_themselves(results: list[dict[str, Any]]) -> None:
    inputs, labels = ranks.data()
    for rank, rows in enumerate([slice(0, 11), slice(11, 16)]):
        assert_close(results[rank]["uneven alone"], SupConLoss()(inputs[rows], labels[rows]))
    for rank, rows in enumerate([slice(0, 9), slice(9, 16)]):
        assert_close(results[rank]["pairs alone"], ClipLoss()(inputs[rows], inputs[rows]))


def test_all_ranks_refuse_together(results: list[dict[str, Any]]) -> None:
    for rank in (0, 1):
        assert "2 of 4 rows are alone in their class (label 0 is the first)" in results[rank]["refused"]
