# SPDX-License-Identifier: Apache-2.0
"""Resume on two real gloo ranks from checkpoints within epochs and between them."""

import os
from pathlib import Path

import pytest
import torch
from helpers.scripts import run_ranks

from lightning_monocon.runs.checkpoints import newest_good

SCRIPT = Path(__file__).parents[1] / "processes" / "ddp_resume.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("ranks")
    run_ranks(SCRIPT, place)
    return place


def test_two_ranks_resume_exactly(folder: Path) -> None:
    for rank in (0, 1):
        ends = torch.load(folder / f"rank{rank}.pt", weights_only=True)
        truth = ends.pop("whole")
        assert len(ends) == 4 and truth["steps"] == 21
        for age, end in ends.items():
            for name, value in truth.items():
                if rank and "running" in name:  # each rank has its own, and the first one's are saved
                    continue
                assert torch.equal(end[name], value), (rank, age, name)


def test_gradients_that_two_ranks_accumulate_are_in_no_checkpoint_and_it_says_so(folder: Path) -> None:
    best = folder / "accumulated" / "best.ckpt"
    content = torch.load(best, weights_only=True)
    state = content["callbacks"]["ExactResume"]
    assert content["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["ready"] == 5
    assert state["exact"] is False and "gradients" not in state
    os.utime(best, (2**33, 2**33))
    found, _ = newest_good(best.parent)
    assert found is not None and found.name == "last.ckpt"
