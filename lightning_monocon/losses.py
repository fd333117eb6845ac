# SPDX-License-Identifier: Apache-2.0
"""The supervised contrastive loss as a module: validation and the ranks; the arithmetic is in `kernels.supcon`."""

from __future__ import annotations

import math
from typing import get_args

import torch
from torch import Tensor, nn

from lightning_monocon.functional.gather import RowGather, is_distributed
from lightning_monocon.kernels.dispatch import Backend
from lightning_monocon.kernels.supcon import supcon
from lightning_monocon.kernels.supcon.options import Singletons

SHORTEST = 1e-12
"""Rows shorter than this have no direction in float32."""


class SupConLoss(nn.Module):
    r"""Supervised contrastive loss, exact and in O(N (D + block)) memory.

    .. math::
        f_i = e_i / |e_i|, \quad s_{ij} = f_i \cdot f_j / T, \quad P(i) = \{j \ne i : y_j = y_i\}

        L = -\frac1N \sum_i \frac1{|P(i)|} \sum_{p \in P(i)} \Big( s_{ip} - \log \sum_{j \ne i} e^{s_{ij}} \Big)

    Khosla et al. 2020 (arXiv:2004.11362), equation 2. With labels ``0 .. B-1`` twice over it is NT-Xent. No matrix
    of all pairs is stored, forward or backward, and the 1e-9 that the reference implementation adds inside the
    logarithm is left out: the two agree to 1e-5 at T = 0.1 and part at small T, where 1e-9 is not small.

    Under an initialised process group the contrast set is the batch of all ranks, uneven ranks included. Every rank
    returns the loss of the global batch, and its gradient is scaled so that the average which
    DistributedDataParallel takes over ranks is the gradient of one rank with the whole batch.

    As input to ``forward`` the loss accepts:

    - ``embeddings`` (Tensor): floating, ``(N, D)``. The arithmetic is float32 under any autocast and for
      half-precision input, float64 for float64.
    - ``labels`` (Tensor): integers of any sign, ``(N,)``, on the same device.

    As output it returns a 0-d loss, float32, or float64 for float64 embeddings. N = 0 and N = 1 give zero with zero
    gradients. First derivatives only.

    Values (NaN, infinities, zero length, a temperature that is not positive) are checked on the CPU. On another
    device reading them would make the host wait in every step: they are checked there only under
    ``torch.autograd.set_detect_anomaly(True)``; without it a NaN reaches the loss.

    Args:
        temperature: T > 0. A 0-d tensor (an ``nn.Parameter``, say) is learnt.
        normalize: Bring the embeddings to unit length first. Without it the logits are raw inner products over T.
        singletons: An anchor without a positive counts as ``"zero"`` in the mean over all anchors (as the reference
            implementation does), is left out of the mean by ``"skip"``, or raises with ``"error"`` (which waits for
            the device).
        ignore_index: Rows with this label take no part, neither as anchor nor as positive nor in a denominator.
        gather: Contrast against the batches of all ranks. False keeps each rank to itself.
        block_size: Side of a tile of pairs; None chooses by device.
        backend: ``"auto"`` takes the Triton kernels on a GPU and from a size where they are known to be no slower, and
            plain torch elsewhere; ``"triton"`` insists on the kernels; ``"torch"`` does without.

    Raises:
        ValueError: On a wrong shape, a value outside its rule, labels on another device, or an unknown option.
        TypeError: On embeddings that are not floating or labels that are not integers.

    Example:
        >>> loss = SupConLoss(temperature=0.5)
        >>> loss(torch.tensor([[3.0, 0.0], [1.0, 0.0], [0.0, 2.0], [0.0, 1.0]]), torch.tensor([0, 0, 1, 1]))
        tensor(0.2395)
    """

    def __init__(
        self,
        temperature: float | Tensor = 0.1,
        *,
        normalize: bool = True,
        singletons: Singletons = "zero",
        ignore_index: int | None = None,
        gather: bool = True,
        block_size: int | None = None,
        backend: Backend = "auto",
    ) -> None:
        super().__init__()
        _check_choice("singletons", singletons, get_args(Singletons))
        _check_choice("backend", backend, get_args(Backend))
        if block_size is not None and block_size < 1:
            raise ValueError(f"`block_size` must be at least 1, or None to let the device decide; got {block_size}.")
        _check_temperature(temperature)
        self.temperature = temperature
        self.normalize = normalize
        self.singletons: Singletons = singletons
        self.ignore_index = ignore_index
        self.gather = gather
        self.block_size = block_size
        self.backend: Backend = backend

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of ``(N, D)`` embeddings with ``(N,)`` labels, 0-d."""
        _check_shapes(embeddings, labels)
        if _values_are_at_hand(embeddings):
            _check_temperature(self.temperature)
            _check_values(embeddings, self.normalize)
        layout = RowGather(len(embeddings), embeddings.device) if self.gather and is_distributed() else None
        return supcon(
            embeddings,
            labels,
            self.temperature,
            normalize=self.normalize,
            singletons=self.singletons,
            ignore_index=self.ignore_index,
            gather=layout,
            block_size=self.block_size,
            backend=self.backend,
        )

    def extra_repr(self) -> str:
        """Return the arguments, as `repr` shows them."""
        temperature = "learnt" if isinstance(self.temperature, Tensor) else self.temperature
        return f"temperature={temperature}, normalize={self.normalize}, singletons={self.singletons!r}"


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {', '.join(map(repr, choices))}; got {value!r}.")


def _check_temperature(temperature: float | Tensor) -> None:
    if isinstance(temperature, Tensor):
        if temperature.ndim or not temperature.is_floating_point():
            raise ValueError(
                "`temperature` must be a number or a floating 0-d tensor; got a tensor of shape "
                f"{tuple(temperature.shape)} and dtype {temperature.dtype}."
            )
        if not _values_are_at_hand(temperature):
            return
        temperature = float(temperature.detach())
    if not (temperature > 0 and math.isfinite(temperature)):
        raise ValueError(f"`temperature` must be positive and finite; got {temperature:g}. Usual are 0.05 to 0.5.")


def _check_shapes(embeddings: Tensor, labels: Tensor) -> None:
    shape = tuple(embeddings.shape)
    if embeddings.ndim != 2 or not embeddings.shape[1]:
        raise ValueError(f"`embeddings` must be (N, D) with D at least 1; got shape {shape}.")
    if not embeddings.is_floating_point():
        raise TypeError(f"`embeddings` must be floating; got {embeddings.dtype}. Cast them with `.float()`.")
    if labels.ndim != 1 or labels.shape[0] != embeddings.shape[0]:  # `len` would fix the size in an export
        raise ValueError(
            f"`labels` must hold {len(embeddings)} integers, one per embedding; got shape {tuple(labels.shape)}."
        )
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f"`labels` must be integers; got {labels.dtype}. Cast class indices with `.long()`.")
    if labels.device != embeddings.device:
        raise ValueError(
            f"`labels` must be on the embeddings' device, {embeddings.device}; got {labels.device}. "
            "Move them with `.to(embeddings.device)`."
        )


def _values_are_at_hand(tensor: Tensor) -> bool:
    """Return whether looking at values costs no wait, or was asked for, and breaks no graph or transform."""
    if torch.compiler.is_compiling() or torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        return False
    return tensor.device.type == "cpu" or torch.is_anomaly_enabled()


def _check_values(embeddings: Tensor, normalize: bool) -> None:
    lengths = torch.linalg.vector_norm(embeddings.detach(), dim=1, dtype=torch.float64)
    finite = lengths.isfinite()
    if not finite.all():
        row = int(finite.logical_not().nonzero()[0])
        raise ValueError(
            f"`embeddings` must be finite; {int(finite.logical_not().sum())} of {len(finite)} rows hold NaN or "
            f"infinity (row {row} is the first). A smaller learning rate, gradient clipping or bfloat16 instead of "
            "float16 usually mends it."
        )
    short = lengths < SHORTEST
    if normalize and short.any():
        raise ValueError(
            f"`embeddings` must have a length above {SHORTEST} to be normalised; {int(short.sum())} of {len(short)} "
            f"rows do not (row {int(short.nonzero()[0])} is the first). Drop those rows, or give them "
            "`ignore_index` and a length, or pass normalize=False."
        )
