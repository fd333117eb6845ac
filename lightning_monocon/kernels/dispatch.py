# SPDX-License-Identifier: Apache-2.0
"""Choose between the Triton kernel and plain torch.

    "torch"   plain torch, on any device.
    "triton"  the kernel, or an error that names the alternative. On a CPU this needs ``TRITON_INTERPRET=1``.
    "auto"    the kernel if the operation's table says that it is no slower than torch, else plain torch, silently.

The table of an operation maps a device architecture (`architecture`) to the smallest number of rows for which the
kernel is chosen: ``TABLES`` in ``supcon/route.py`` for the losses, ``AUTO_FROM`` in
``monotone_linear/configurations.py`` for the head. A measurement on this machine (`measure`) overrides the table; it is
kept on disk, and only the user starts one. Inside the transforms of `torch.func` and in forward mode, where a custom
operator would silently give zero tangents, the choice is always plain torch. This module never imports Triton.
"""

from __future__ import annotations

import json
import math
import os
import re
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import forward_ad

from lightning_monocon.runs.files import write_text

P = ParamSpec("P")
R = TypeVar("R")

Backend = Literal["auto", "triton", "torch"]
Table = Mapping[str, int]

_unpack_dual: Callable[[Tensor], Any] = forward_ad.unpack_dual  # typed here: torch leaves it unannotated

FLOATING = (torch.float32, torch.float16, torch.bfloat16)


OLDEST_TRITON = (3, 6)
"""Oldest Triton that compiles every kernel: 3.2 to 3.5 fail where a product is split into bfloat16 parts."""


@cache
def triton_version() -> str:
    """Return the version of the installed Triton without importing it; empty if there is none."""
    if find_spec("triton") is None:
        return ""
    for name in ("triton", "triton-rocm", "pytorch-triton-rocm", "pytorch-triton-xpu"):
        with suppress(PackageNotFoundError):
            return version(name)
    return "unknown"


def has_triton() -> bool:
    """Return whether a Triton is installed that compiles the kernels, without importing it."""
    installed = triton_version()
    found = re.match(r"(\d+)\.(\d+)", installed)
    return installed == "unknown" or (found is not None and (int(found[1]), int(found[2])) >= OLDEST_TRITON)


def is_interpreting() -> bool:
    """Return whether kernels run in Triton's interpreter on the CPU, which is set before Triton is imported."""
    return os.environ.get("TRITON_INTERPRET") == "1" and has_triton()


def architecture(device: torch.device) -> str:
    """Return the name of a device's architecture, such as "cpu", "sm_90" or "gfx942".

    Example:
        >>> architecture(torch.device("cpu"))
        'cpu'
    """
    if device.type != "cuda":
        return device.type
    properties = torch.cuda.get_device_properties(device)
    if torch.version.hip:
        return str(properties.gcnArchName).split(":")[0]
    return f"sm_{properties.major}{properties.minor}"


def is_gpu(device: torch.device) -> bool:
    """Return whether kernels can run on a device: CUDA and ROCm both call theirs "cuda"."""
    return device.type == "cuda"


def constant_to_compilers(function: Callable[P, R]) -> Callable[P, R]:
    """Let a compiled program keep the result of a function of constants; its code asks the machine.

    `torch.compiler.assume_constant_result` would do this, but would import the compiler, and with it Triton.
    """
    vars(function)["_dynamo_marked_constant"] = True
    return function


def is_certain(fact: bool) -> bool:
    """Return whether a fact about sizes holds, for every size that a compiled program with free sizes may get."""
    if not torch.compiler.is_compiling():
        return fact
    from torch.fx.experimental.symbolic_shapes import statically_known_true

    return statically_known_true(fact)


def on_device(tensor: Tensor) -> AbstractContextManager[object]:
    """Return a context in which the tensor's GPU is the current device, on which Triton launches its kernels."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()


def in_transform(*tensors: Tensor) -> bool:
    """Return whether a tensor is inside a `torch.func` transform or carries a forward-mode tangent."""
    if torch.compiler.is_compiling():
        return False
    wrapped = torch._C._functorch.is_functorch_wrapped_tensor
    return any(wrapped(tensor) or has_tangent(tensor) for tensor in tensors)


def has_tangent(tensor: Tensor) -> bool:
    """Return whether a tensor carries a forward-mode tangent; never ask while compiling."""
    return _unpack_dual(tensor).tangent is not None


def use_triton(operation: str, backend: Backend, table: Table, tensor: Tensor, *others: Tensor) -> bool:
    """Return whether the Triton kernel serves a call.

    Args:
        operation: Name of the operation, for messages and for measurements.
        backend: The backend that the caller asked for.
        table: Smallest number of rows for which the kernel is chosen, by architecture.
        tensor: The input, whose device, dtype and number of rows decide.
        *others: Further differentiable inputs, which matter only for transforms.

    Raises:
        ValueError: If ``backend="triton"`` does not support the tensor's device or dtype.
        RuntimeError: If ``backend="triton"`` and Triton is not installed.
    """
    if backend == "torch" or in_transform(tensor, *others):
        return False
    if backend == "triton":
        if not torch.compiler.is_compiling():  # the operator refuses, when it runs, what it does not support
            _require(operation, tensor)
        return True
    name = _kernels_for(tensor.device)
    if not name or tensor.dtype not in FLOATING:
        return False
    measured = _measured_for(operation, name, tensor)
    # a size that is not certain to be below the limit is taken for a large one
    return measured == "triton" if measured else name in table and not is_certain(rows(tensor) < table[name])


@constant_to_compilers
def _kernels_for(device: torch.device) -> str:
    """Return the architecture of a device, empty if no kernel can run there."""
    return architecture(device) if is_gpu(device) and has_triton() else ""


def _measured_for(operation: str, name: str, tensor: Tensor) -> str | None:
    """Return what was measured for the size of a tensor; None if nothing was, or the size is free."""
    if not torch.compiler.is_compiling():
        return _measured().get(key(operation, name, tensor))
    count, dim = rows(tensor), tensor.shape[-1]
    for bucket, width, choice in _measured_sizes(operation, name, tensor.dtype):
        if is_certain(dim == width) and is_certain(count <= bucket) and is_certain(2 * count > bucket):
            return choice
    return None


@constant_to_compilers
def _measured_sizes(operation: str, name: str, dtype: torch.dtype) -> tuple[tuple[int, int, str], ...]:
    """Return (largest number of rows, dimensions, choice) of each measurement of an operation."""
    start = key(operation, name, torch.empty(1, 1, dtype=dtype)).removesuffix("1x1")
    found = ((name.removeprefix(start).split("x"), choice) for name, choice in _measured().items() if start in name)
    return tuple((int(bucket), int(width), choice) for (bucket, width), choice in found)


def _require(operation: str, tensor: Tensor) -> None:
    if triton_version() and not has_triton():
        raise RuntimeError(
            f"`backend`='triton' needs Triton {'.'.join(map(str, OLDEST_TRITON))} or newer; got {triton_version()}: "
            f"upgrade it, or pass backend='auto' or 'torch' to {operation}."
        )
    if not has_triton():
        raise RuntimeError(
            f"`backend`='triton' needs Triton, which is not installed. Install lightning-monocon[triton], or pass "
            f"backend='auto' or 'torch' to {operation}."
        )
    if tensor.device.type != "cuda" and not is_interpreting():
        raise ValueError(
            f"`backend`='triton' needs tensors on a GPU; {operation} got one on {tensor.device}. Move it there, or "
            "pass backend='auto' or 'torch'. (TRITON_INTERPRET=1 runs the kernels on a CPU, to debug them.)"
        )
    if tensor.dtype not in FLOATING:
        raise ValueError(
            f"`backend`='triton' computes in float32, float16 or bfloat16; {operation} got {tensor.dtype}. Cast it, or "
            "pass backend='auto' or 'torch'."
        )


def rows(tensor: Tensor) -> int:
    """Return the number of rows of a ``(..., D)`` tensor."""
    return math.prod(tensor.shape[:-1])


def key(operation: str, name: str, tensor: Tensor) -> str:
    """Return the name of a measurement, with the rows rounded up to a power of two.

    Example:
        >>> key("supcon", "sm_90", torch.empty(1000, 64))
        'supcon/sm_90/float32/1024x64'
    """
    bucket = 1 << max(rows(tensor) - 1, 0).bit_length()
    return f"{operation}/{name}/{str(tensor.dtype).removeprefix('torch.')}/{bucket}x{tensor.shape[-1]}"


def cache_path() -> Path:
    """Return the file of measurements, in ``$MONOCON_CACHE`` or ``~/.cache/lightning_monocon``."""
    folder = os.environ.get("MONOCON_CACHE") or Path.home() / ".cache" / "lightning_monocon"
    return Path(folder) / "kernels.json"


@cache
def _measured() -> dict[str, str]:
    try:
        found = json.loads(cache_path().read_text())
    except (OSError, ValueError):
        return {}  # nothing was measured, or the file is damaged: the tables decide
    return {str(name): str(choice) for name, choice in found.items()} if isinstance(found, dict) else {}


def measure(operation: str, tensor: Tensor, steps: Mapping[str, Callable[[], object]], rounds: int = 20) -> str:
    """Time the steps "triton" and "torch" in turn, save the name of the faster one and return it.

    Under a process group this is a collective call: rank 0 measures and all ranks use its result, so that they never
    run different kernels. Call it before training, and not while a CUDA graph is captured.

    Args:
        operation: Name of the operation.
        tensor: An input of the size to decide for.
        steps: A forward and backward pass of each implementation. Only rank 0 runs them.
        rounds: Number of runs of each.
    """
    ranks = dist.is_available() and dist.is_initialized()
    choice = [_fastest(steps, rounds)] if not ranks or dist.get_rank() == 0 else [""]
    if ranks:
        dist.broadcast_object_list(choice, src=0)
    _measured()[key(operation, architecture(tensor.device), tensor)] = choice[0]
    if not ranks or dist.get_rank() == 0:
        write_text(cache_path(), json.dumps(_measured(), indent=1))
    return choice[0]


def _fastest(steps: Mapping[str, Callable[[], object]], rounds: int) -> str:
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds + 1):
        for name, step in steps.items():
            _drain()
            start = time.perf_counter()
            step()
            _drain()
            times[name].append(time.perf_counter() - start)
    # the first round compiled the kernels
    return min(times, key=lambda name: statistics.median(times[name][1:]))


def _drain() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
