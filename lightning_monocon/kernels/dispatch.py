# SPDX-License-Identifier: Apache-2.0
"""Which implementation serves an operation here: the Triton kernel or plain torch.

    "torch"   plain torch, anywhere.
    "triton"  the kernel, or an error that names the alternative. On a CPU only under ``TRITON_INTERPRET=1``.
    "auto"    the kernel where the operation's table says it is no slower than torch, else plain torch, silently.

An operation's table maps a device architecture (`architecture`) to the fewest rows from which its kernel is chosen.
A measurement on the machine itself (`measure`) overrules the table; it is kept on disk and never starts by itself.
Inside the transforms of `torch.func` and in forward mode, where a custom operator would silently give zero tangents,
the answer is always plain torch. This module never imports Triton.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import forward_ad

from lightning_monocon.runs.files import write_text

Backend = Literal["auto", "triton", "torch"]
Table = Mapping[str, int]

_unpack_dual: Callable[[Tensor], Any] = forward_ad.unpack_dual  # typed here: torch leaves it unannotated

FLOATING = (torch.float32, torch.float16, torch.bfloat16)


@cache
def has_triton() -> bool:
    """Return whether Triton is installed, without importing it."""
    return find_spec("triton") is not None


def is_interpreting() -> bool:
    """Return whether kernels run in Triton's interpreter, on the CPU; it is chosen before Triton is imported."""
    return os.environ.get("TRITON_INTERPRET") == "1" and has_triton()


def architecture(device: torch.device) -> str:
    """Return "cpu", "sm_90", "gfx942" and the like; the device type where there is no finer name.

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


def on_device(tensor: Tensor) -> AbstractContextManager[object]:
    """Return a context in which the tensor's GPU is the current one: Triton launches on that, whatever it is given."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()


def in_transform(*tensors: Tensor) -> bool:
    """Return whether a tensor is inside a `torch.func` transform or carries a forward-mode tangent."""
    if torch.compiler.is_compiling():
        return False
    wrapped = torch._C._functorch.is_functorch_wrapped_tensor
    return any(wrapped(tensor) or _unpack_dual(tensor).tangent is not None for tensor in tensors)


def use_triton(operation: str, backend: Backend, table: Table, tensor: Tensor, *others: Tensor) -> bool:
    """Return whether the Triton kernel serves a call.

    Args:
        operation: Name of the operation, for messages and for measurements.
        backend: What was asked for.
        table: Architecture to the fewest rows from which the kernel is chosen.
        tensor: The input; its device, dtype and rows decide.
        *others: Further differentiable inputs; looked at for transforms only.

    Raises:
        ValueError: If ``backend="triton"`` cannot serve the tensor's device or dtype.
        RuntimeError: If ``backend="triton"`` and Triton is not installed.
    """
    if backend == "torch" or in_transform(tensor, *others):
        return False
    if backend == "triton":
        _require(operation, tensor)
        return True
    if tensor.device.type != "cuda" or tensor.dtype not in FLOATING or not has_triton():
        return False
    name = architecture(tensor.device)
    measured = _measured().get(key(operation, name, tensor))
    return measured == "triton" if measured else name in table and rows(tensor) >= table[name]


def _require(operation: str, tensor: Tensor) -> None:
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
    """Return the name of a measurement: rows are rounded up to a power of two.

    Example:
        >>> key("supcon", "sm_90", torch.empty(1000, 64))
        'supcon/sm_90/float32/1024x64'
    """
    bucket = 1 << max(rows(tensor) - 1, 0).bit_length()
    return f"{operation}/{name}/{str(tensor.dtype).removeprefix('torch.')}/{bucket}x{tensor.shape[-1]}"


def cache_path() -> Path:
    """Return where measurements are kept: ``$MONOCON_CACHE`` or ``~/.cache/lightning_monocon``."""
    folder = os.environ.get("MONOCON_CACHE") or Path.home() / ".cache" / "lightning_monocon"
    return Path(folder) / "kernels.json"


@cache
def _measured() -> dict[str, str]:
    try:
        found = json.loads(cache_path().read_text())
    except (OSError, ValueError):
        return {}  # nothing measured, or a file that was cut short: the tables decide
    return {str(name): str(choice) for name, choice in found.items()} if isinstance(found, dict) else {}


def measure(operation: str, tensor: Tensor, steps: Mapping[str, Callable[[], object]], rounds: int = 20) -> str:
    """Time the steps "triton" and "torch" in turn, keep the winner on disk and return it.

    Under a process group this is a collective call: rank 0 times, and all ranks take its word, so that they never
    run different kernels. Call it before training, never while a CUDA graph is captured.

    Args:
        operation: Name of the operation.
        tensor: An input of the size to decide for.
        steps: A forward and backward pass by each implementation, on this rank alone: no other rank runs them.
        rounds: How often each is run.
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
