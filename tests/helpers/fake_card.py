# SPDX-License-Identifier: Apache-2.0
"""Steps on a card that is not here: fake tensors, kernels that only note their launch, and what is copied meanwhile.

Autograd cannot run on a device that torch was not built for, so a step is its forward pass and the functions that its
backward pass calls, one after the other, without a graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

COPIES = ("aten._to_copy", "aten.copy_", "aten.copy")
WIDENING = ("aten.mm.dtype", "aten.mm.dtype_out", "aten.addmm.dtype", "aten.addmm.dtype_out")
WAITS = ("aten._local_scalar_dense", "aten.nonzero", "aten.is_nonzero", "aten.item")


class Seen(TorchDispatchMode):
    """Note copies between devices, waits, dtypes on a device, products that widen, and the most bytes held at once."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []
        self.dtypes: set[torch.dtype] = set()
        self.widened: list[str] = []
        self.most_bytes = 0
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = str(func).rpartition(".")[0]
        if "out_dtype" in kwargs or str(func) in WIDENING:
            self.widened.append(str(func))
            if "out" in kwargs:
                return kwargs["out"]
        if name in WAITS:
            self.waits.append(name)
        out = func(*args, **kwargs)
        if name in COPIES:
            tensors = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, Tensor)]
            if len({tensor.device.type for tensor in tensors}) > 1:
                self.waits.append(name)
        found = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor) and leaf.device.type != "cpu"]
        self.dtypes |= {tensor.dtype for tensor in found}
        self._weigh(found)
        return out

    def _weigh(self, tensors: list[Tensor]) -> None:
        new = [tensor.untyped_storage() for tensor in tensors]
        new = [storage for storage in new if storage._cdata not in self._alive and storage.nbytes() > 2**16]
        if not new:
            return
        for storage in new:
            self._alive[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self._alive = {at: held for at, held in self._alive.items() if not held[0].expired()}
        self.most_bytes = max(self.most_bytes, sum(size for _, size in self._alive.values()))


class Indexing(TorchFunctionMode):
    """Index by operators: Python's brackets ask for the device, which torch was not built for."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.__getitem__:
            return indexed(*args)
        if func is Tensor.__setitem__:
            target, index, value = args
            if isinstance(index, Tensor):
                return torch.ops.aten.index_put_(target, [index], value)
            assert value.device == target.device, "a copy between devices"
            return None  # a copy on the device, which would ask for it
        return func(*args, **(kwargs or {}))


def indexed(tensor: Tensor, index: Any) -> Tensor:
    """Return ``tensor[index]`` for slices, numbers, None and index tensors."""
    dim = 0
    for part in index if isinstance(index, tuple) else (index,):
        if part is None:
            tensor = tensor.unsqueeze(dim)
        elif isinstance(part, slice):
            tensor = torch.ops.aten.slice(tensor, dim, part.start, part.stop, part.step or 1)
        elif isinstance(part, Tensor):
            tensor = torch.ops.aten.index(tensor, [None] * dim + [part])
        else:
            tensor = torch.ops.aten.select(tensor, dim, part)
            continue
        dim += 1
    return tensor


class Launched:
    """Stand for a Triton kernel: each launch is noted by the kernel's name."""

    def __init__(self, name: str, launches: list[str]) -> None:
        self.name, self.launches = name, launches

    def __getitem__(self, grid: object) -> Launched:
        return self

    def __call__(self, **arguments: object) -> None:
        self.launches.append(self.name)


@contextmanager
def fake_tensors() -> Iterator[Seen]:
    """Make every new tensor a fake one, on any device, and note what happens to them."""
    with FakeTensorMode(), torch.no_grad(), Indexing(), Seen() as seen:
        yield seen


def fake_kernels(monkeypatch: pytest.MonkeyPatch, architecture: str = "sm_90") -> list[str]:
    """Take the fake device for one of this architecture and its kernels for launches that are noted in the result."""
    from lightning_monocon.kernels import cross_supcon, dispatch, monotone_linear, supcon  # noqa: F401
    from lightning_monocon.kernels.cross_supcon import fused as between
    from lightning_monocon.kernels.monotone_linear import launch as layers
    from lightning_monocon.kernels.monotone_linear import ops
    from lightning_monocon.kernels.supcon import fused, kernel, kernel_rows, launch

    launches: list[str] = []
    for module in (kernel, kernel_rows, layers):
        for name in [name for name in vars(module) if name.endswith("_kernel")]:
            monkeypatch.setattr(module, name, Launched(name, launches))
    for module in (dispatch, launch, ops):
        monkeypatch.setattr(module, "architecture", lambda device: architecture)
    for module in (fused, between):
        monkeypatch.setattr(module, "on_device", lambda tensor: nullcontext())
    monkeypatch.setattr(dispatch, "triton_version", lambda: "3.7.1")
    return launches
