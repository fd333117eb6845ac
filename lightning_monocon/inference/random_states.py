# SPDX-License-Identifier: Apache-2.0
"""Draw random numbers without changing the random states."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch


@contextmanager
def kept_random_states(places: Iterable[torch.device] = ()) -> Iterator[None]:
    """Restore the random states of Python, NumPy, torch and the devices ``places`` at the end of the context."""
    python, numpy = random.getstate(), np.random.get_state()
    accelerators = {place for place in places if place.type != "cpu"}
    with ExitStack() as stack:
        for place in accelerators or {torch.device("cpu")}:
            devices = [] if place.type == "cpu" else [place]
            stack.enter_context(torch.random.fork_rng(devices, device_type="cuda" if not devices else place.type))
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
