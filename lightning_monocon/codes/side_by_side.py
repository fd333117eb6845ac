# SPDX-License-Identifier: Apache-2.0
"""Run one function on several items at once, in threads that each compute on one thread of their own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import TypeVar

import torch

Item = TypeVar("Item")
Found = TypeVar("Found")

_MOST = 8  # at once, for which there is memory
_AHEAD = 8  # items beyond these that may be done before an earlier one that takes long


def side_by_side(function: Callable[[Item], Found], items: Iterable[Item]) -> Generator[Found, None, None]:
    """Yield what a function returns of each item, in their order; as many run at once as torch has threads, at most 8.

    Within a call torch uses one thread. So the order of sums, and with it the result, does not depend on how many
    there are, and no core waits for another.
    """
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(min(threads, _MOST), initializer=partial(torch.set_num_threads, 1))
    rest, waiting = iter(items), deque[Future[Found]]()
    try:
        waiting.extend(pool.submit(function, item) for item in islice(rest, min(threads, _MOST) + _AHEAD))
        while waiting:
            found = waiting.popleft().result()
            waiting.extend(pool.submit(function, item) for item in islice(rest, 1))
            yield found
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # what threads that start later take over
