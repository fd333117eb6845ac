# SPDX-License-Identifier: Apache-2.0
"""Items are worked on at once, come in their order, and give the same whatever the threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
import torch

from lightning_monocon.codes import side_by_side as module
from lightning_monocon.codes.side_by_side import side_by_side


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


def test_items_run_at_once_and_come_in_their_order() -> None:
    both = threading.Barrier(2, timeout=60)  # neither passes before the other has begun

    def squared(item: int) -> int:
        if item < 2:
            both.wait()
        return item**2

    assert [*side_by_side(squared, range(20))] == [item**2 for item in range(20)]
    assert [*side_by_side(squared, [])] == []


def test_few_items_run_ahead_of_one_that_takes_long() -> None:
    begun, done = list[int](), threading.Event()

    def wait(item: int) -> int:
        begun.append(item)
        assert item or done.wait(60)
        return item

    with closing(side_by_side(wait, range(100))) as found:
        threading.Timer(0.2, done.set).start()
        assert next(found) == 0
    assert len(begun) <= 2 + module._AHEAD + 1


def test_torch_has_one_thread_in_each_and_as_many_as_before_afterwards() -> None:
    assert [*side_by_side(lambda _: torch.get_num_threads(), range(4))] == [1] * 4
    assert torch.get_num_threads() == 2
    later = list[int]()
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert later == [2]


def test_an_error_ends_it() -> None:
    with pytest.raises(ValueError, match="six"):
        [*side_by_side(lambda item: int("six") if item == 6 else item, range(9))]
    assert torch.get_num_threads() == 2
