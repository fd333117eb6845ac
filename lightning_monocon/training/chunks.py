# SPDX-License-Identifier: Apache-2.0
r"""Embed a batch in chunks with the memory of one chunk, and the gradient of the whole batch.

A contrastive loss couples all samples of a batch, but only through their embeddings. Therefore (GradCache: Gao, Zhang,
Han & Callan 2021, arXiv 2101.06983) every chunk is embedded without a graph; the loss of all embeddings gives
:math:`g_i = \partial L / \partial e_i`; and in the backward pass each chunk is embedded again, with a graph, to
give :math:`\sum_i g_i \, \partial e_i / \partial \theta`. The cost is one more forward pass.

The second pass repeats the first with the same random numbers and the same autocast; buffers (running statistics) are
restored after it. Both passes are one autograd node between parameters and embeddings, so loss scaling, clipping,
accumulation and the all-reduce of DistributedDataParallel see an ordinary gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain, pairwise
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from lightning_monocon.kernels.context import Context

RandomState: TypeAlias = tuple[Tensor, Tensor | None]


def embed_in_chunks(
    embed: Callable[[Any], Tensor], modules: Sequence[nn.Module], inputs: object, rows: int, chunk_size: int
) -> Tensor:
    """Return the embeddings ``(rows, D)`` of a batch, embedded chunk by chunk, forward and backward.

    Chunks are as even as possible. The gradient is with respect to the parameters only, not the inputs.

    Args:
        embed: Maps inputs of n samples to ``(n, D)``.
        modules: Modules that hold all parameters and buffers that ``embed`` uses.
        inputs: A tensor, or a mapping, tuple or list of what may be inputs; the first dimension of every tensor (or the
            length of a list of strings) is the batch. Plain values go to every chunk.
        rows: Samples in the batch.
        chunk_size: Most samples in a chunk, at least 1.

    Raises:
        ValueError: If a tensor of the inputs does not have ``rows`` rows.
        TypeError: If a part of the inputs cannot be split.
    """
    every = dict.fromkeys(chain.from_iterable(module.parameters() for module in modules))
    parameters = [parameter for parameter in every if parameter.requires_grad]
    if rows <= chunk_size or not parameters or not torch.is_grad_enabled():
        # one chunk saves no memory; without a gradient nothing is repeated
        parts = [inputs] if rows <= chunk_size else _chunks(inputs, rows, chunk_size)
        return torch.cat([embed(part) for part in parts]) if len(parts) > 1 else embed(parts[0])
    buffers = list(chain.from_iterable(module.buffers() for module in modules))
    passes = _Passes(embed, _chunks(inputs, rows, chunk_size), parameters, buffers)
    embeddings: Tensor = _Cached.apply(passes, *parameters)  # type: ignore[no-untyped-call]  # torch's
    return embeddings


class _Autocast(NamedTuple):
    """Hold the state of autocast on one type of device."""

    device_type: str
    enabled: bool
    dtype: torch.dtype

    def again(self) -> torch.autocast:
        # no cache: weights that were cast in the pass without a graph must not be reused in the pass with one
        return torch.autocast(self.device_type, self.dtype, self.enabled, cache_enabled=False)


class _Passes:
    """Run the two passes over the chunks of one batch."""

    def __init__(
        self, embed: Callable[[Any], Tensor], chunks: list[Any], parameters: list[nn.Parameter], buffers: list[Tensor]
    ) -> None:
        self.embed, self.chunks, self.parameters, self.buffers = embed, chunks, parameters, buffers
        self.device = parameters[0].device
        self.casts = [
            _Autocast(kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind))
            for kind in dict.fromkeys(("cpu", self.device.type))
        ]
        self.states: list[RandomState] = []
        self.sizes: list[int] = []

    def forward(self) -> Tensor:
        """Embed the chunks and note the random state before each."""
        outputs = []
        with self._casting():
            for chunk in self.chunks:
                self.states.append(_random_state(self.device))
                outputs.append(self.embed(chunk))
        self.sizes = [len(output) for output in outputs]
        return torch.cat(outputs)

    def backward(self, grad: Tensor) -> list[Tensor | None]:
        """Embed the chunks again and return the parameters' gradients, summed over the chunks."""
        sums: list[Tensor | None] = [None] * len(self.parameters)
        kept = [buffer.clone() for buffer in self.buffers]
        for chunk, state, part in zip(self.chunks, self.states, torch.split(grad, self.sizes), strict=True):
            with _repeating(state, self.device), self._casting(), torch.enable_grad():
                output = self.embed(chunk)
            grads = torch.autograd.grad(output, self.parameters, part.to(output.dtype), allow_unused=True)
            sums = [
                old if new is None else new if old is None else old + new for old, new in zip(sums, grads, strict=True)
            ]
        for buffer, value in zip(self.buffers, kept, strict=True):
            buffer.data.copy_(value)  # `.data`: a graph that holds the buffer must not call it modified
        return sums

    @contextmanager
    def _casting(self) -> Iterator[None]:
        with ExitStack() as stack:
            for cast in self.casts:
                stack.enter_context(cast.again())
            yield


class _Cached(torch.autograd.Function):
    """Compute embeddings as a function of the parameters."""

    @staticmethod
    def forward(ctx: Context, passes: _Passes, *parameters: Tensor) -> Tensor:
        ctx.passes = passes
        ctx.save_for_backward(*parameters)  # so that a change before the backward pass is detected
        return passes.forward()

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
        _ = ctx.saved_tensors
        return None, *ctx.passes.backward(grad)


def _random_state(device: torch.device) -> RandomState:
    cpu = torch.get_rng_state()
    return cpu, None if device.type == "cpu" else torch.get_device_module(device).get_rng_state(device)


@contextmanager
def _repeating(state: RandomState, device: torch.device) -> Iterator[None]:
    """Draw the random numbers that followed a state again, and restore the generators afterwards."""
    cpu, other = state
    devices = [] if other is None else [device.index or 0]
    with torch.random.fork_rng(devices, device_type="cuda" if other is None else device.type):
        torch.set_rng_state(cpu)
        if other is not None:
            torch.get_device_module(device).set_rng_state(other, device)
        yield


def _chunks(inputs: object, rows: int, chunk_size: int) -> list[Any]:
    count = -(-rows // chunk_size)
    bounds = [rows * i // count for i in range(count + 1)]
    return [_cut(inputs, rows, slice(*pair)) for pair in pairwise(bounds)]


def _cut(part: object, rows: int, which: slice) -> object:
    """Return the samples ``which`` of a part of the inputs."""
    if isinstance(part, Tensor):
        if part.ndim == 0 or len(part) != rows:
            raise ValueError(
                f"`inputs` must have the batch as the first dimension of every tensor, here {rows}, to be embedded in "
                f"chunks; got shape {tuple(part.shape)}. Let the collate function stack samples first, or drop "
                "chunk_size."
            )
        return part[which]
    if isinstance(part, Mapping):
        return {name: _cut(value, rows, which) for name, value in part.items()}
    if isinstance(part, tuple | list):
        if len(part) == rows and all(isinstance(item, str) for item in part):
            return part[which]
        cut = [_cut(item, rows, which) for item in part]
        kind: Any = type(part)
        return kind(*cut) if hasattr(part, "_fields") else kind(cut)
    if part is None or isinstance(part, bool | int | float | str):
        return part
    raise TypeError(
        f"`inputs` must be tensors, or mappings, tuples or lists of them, to be embedded in chunks; got a "
        f"{type(part).__name__}. Let the collate function return a dict of tensors, or drop chunk_size."
    )
