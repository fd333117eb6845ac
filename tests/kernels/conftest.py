# SPDX-License-Identifier: Apache-2.0
"""Where kernels run: Triton's interpreter on the CPU everywhere, the same cases on a real card under the `gpu` mark."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lightning_monocon.kernels.dispatch import is_interpreting


@pytest.fixture(params=["interpreter", pytest.param("cuda", marks=pytest.mark.gpu)])
def kernel_device(request: pytest.FixtureRequest) -> torch.device:
    """The device to put inputs on; skips, with the reason, where it is not to be had."""
    if request.param == "interpreter":
        if not is_interpreting():
            pytest.skip("Triton's interpreter is off: no Triton here, or TRITON_INTERPRET is not 1")
        return torch.device("cpu")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    if is_interpreting():
        pytest.skip("Triton's interpreter is on: run the card's tests with TRITON_INTERPRET=0")
    return torch.device("cuda")


@pytest.fixture(params=["torch", "triton"])
def backend(request: pytest.FixtureRequest) -> str:
    """The implementation inside the operator; on a CPU the kernels need the interpreter."""
    if request.param == "triton" and not is_interpreting():
        pytest.skip("Triton's interpreter is off: no Triton here, or TRITON_INTERPRET is not 1")
    return request.param


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fill what `torch.empty` and its kin return with NaN: a cell that a kernel forgets to write shows."""

    def poison(make: object) -> object:
        def filled(*args: object, **kwargs: object) -> Tensor:
            out = make(*args, **kwargs)
            return out.fill_(float("nan")) if out.is_floating_point() else out.fill_(torch.iinfo(out.dtype).min)

        return filled

    for owner, name in ((torch, "empty"), (torch, "empty_like"), (torch.Tensor, "new_empty")):
        monkeypatch.setattr(owner, name, poison(getattr(owner, name)))
