# SPDX-License-Identifier: Apache-2.0
"""Find where in a training step numbers stopped being finite, with which samples, and the likely cause."""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DistributedSampler, SequentialSampler

from lightning_monocon.inference.embed import untouched
from lightning_monocon.training.batches import tensors_in

FEW = 8
"""Most names that a message lists."""


class NonFiniteError(RuntimeError):
    """Report a loss, gradient, input or weight that is NaN or infinite."""


class Place(NamedTuple):
    """Name a training step: epoch and batch, counted from 0, the optimizer's step, and the batch itself."""

    epoch: int
    batch_index: int
    step: int
    batch: object


def magnitude(tensors: Iterable[Tensor]) -> Tensor:
    """Return a norm of all entries, 0-d on the tensors' device, that is finite if and only if every entry is."""
    dense = (tensor.coalesce().values() if tensor.is_sparse else tensor for tensor in tensors)
    floating = [tensor.detach() for tensor in dense if tensor.is_floating_point() and tensor.numel()]
    if not floating:
        return torch.zeros(())
    if all(type(tensor) is Tensor and tensor.device.type == "cpu" for tensor in floating):
        # finding the largest takes six times as long here
        norms = torch._foreach_norm(floating)  # pyright: ignore[reportPrivateImportUsage]
        total = torch.stack([norm.float() for norm in norms]).sum()
        if math.isfinite(total.item()):  # if not, squares may have overflowed
            return total
    return torch.nn.utils.get_total_norm(floating, float("inf"))


def bad_rows(batch: object) -> list[int]:
    """Return the rows of a batch in which an input is not finite."""
    found: set[int] = set()
    for tensor in tensors_in(batch):
        if tensor.is_floating_point() and tensor.ndim:
            finite = tensor.detach().flatten(1).isfinite().all(1) if tensor.ndim > 1 else tensor.detach().isfinite()
            found.update(torch.nonzero(~finite).flatten().tolist())
    return sorted(found)


def bad_names(module: nn.Module) -> list[str]:
    """Return the names of parameters, and of the running statistics of batch norm, that are not finite."""
    named = [*module.named_parameters(), *(pair for pair in module.named_buffers() if "running_" in pair[0])]
    if magnitude(tensor for _, tensor in named).isfinite():
        return []
    return [name for name, tensor in named if not tensor.detach().isfinite().all()]


def samples_of(trainer: Trainer, place: Place) -> list[int] | None:
    """Return the data set's indices of the samples of a batch; None if the order of the sampler cannot be repeated."""
    loader = trainer.train_dataloader
    sampler, size = getattr(loader, "sampler", None), getattr(loader, "batch_size", None)
    if size is None or not isinstance(sampler, DistributedSampler | SequentialSampler):
        return None
    if isinstance(sampler, DistributedSampler):  # ours and PyTorch's: a function of seed and epoch
        sampler = copy.copy(sampler)
        sampler.set_epoch(place.epoch)
    keys = list(sampler)[place.batch_index * size : (place.batch_index + 1) * size]
    return [int(key[-1]) if isinstance(key, tuple) else int(key) for key in keys] or None


def where(trainer: Trainer, place: Place) -> str:
    """Return words that name a step: epoch, batch, step and samples; if inputs are bad, only those samples."""
    text = f"epoch {place.epoch}, batch {place.batch_index} (step {place.step})"
    rows, samples = bad_rows(place.batch), samples_of(trainer, place)
    if rows:
        text += f", rows {listed(rows)}"
        samples = [samples[row] for row in rows if row < len(samples)] if samples else None
    return f"{text}, samples {listed(samples)}" if samples else text


def listed(values: Iterable[object]) -> str:
    """Return the first few values as text, and how many there are.

    Example:
        >>> listed(range(3)), listed(range(100))
        ('0, 1, 2', '0, 1, 2, 3, 4, 5, 6, 7, ... (100 in all)')
    """
    words = [str(value) for value in values]
    return ", ".join(words) if len(words) <= FEW else f"{', '.join(words[:FEW])}, ... ({len(words)} in all)"


def likely_cause(trainer: Trainer, module: LightningModule, place: Place, reason: str = "") -> str:
    """Return the likely cause of numbers that are not finite, and its remedy; ``reason`` is the loss's error."""
    if bad_rows(place.batch):
        return "bad input: the batch itself holds NaN or infinity. Fix the data or the transform that makes it."
    rates = [group["lr"] for optimizer in trainer.optimizers for group in optimizer.param_groups]
    rate = f"{max(rates):g}" if rates else "unknown"
    if names := bad_names(module):
        return (
            f"the learning rate (now {rate}): the weights have overflowed, {listed(names)}. Lower it, warm up, or set "
            "gradient_clip_val=1.0."
        )
    if str(trainer.precision).startswith("16"):
        return "overflow of float16, whose largest number is 65504. Use precision='bf16-mixed' or 32."
    if "length above" in reason or _has_rows_of_zeros(module, place.batch):
        return (
            "zero vectors: some embeddings have length 0, so no direction. Look for empty inputs and dead units, or "
            "use the loss with normalize=False."
        )
    return f"the learning rate (now {rate}) or a loss that divides by almost 0. Lower it, or set gradient_clip_val=1.0."


def _has_rows_of_zeros(module: LightningModule, batch: object) -> bool:
    """Return whether the module embeds some input at the origin; False if that is unknown."""
    try:
        with untouched(module), torch.inference_mode():
            rows = module(batch[0] if isinstance(batch, tuple | list) else batch)
        return isinstance(rows, Tensor) and rows.ndim == 2 and bool((rows.abs().amax(1) == 0).any())
    except Exception:  # the search for a cause must not hide the fault
        return False


class _Sign(NamedTuple):
    what: str
    value: Tensor  # in pinned memory
    copied: torch.cuda.Event
    place: Place


class Arrivals:
    """Collect values that are copied from the device, in the order in which they were sent."""

    def __init__(self) -> None:
        self._signs: deque[_Sign] = deque()

    def send(self, what: str, value: Tensor, place: Place) -> None:
        """Start the copy of a 0-d value on a CUDA device, which stands for ``what`` at the step ``place``."""
        host = torch.empty((), dtype=value.dtype, pin_memory=True).copy_(value, non_blocking=True)
        copied = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        copied.record()
        self._signs.append(_Sign(what, host, copied, place))

    def bad(self, wait: bool = False) -> Iterator[tuple[str, Place]]:
        """Yield the values that have arrived and are not finite; with ``wait``, wait for all that were sent."""
        while self._signs and (wait or self._signs[0].copied.query()):  # type: ignore[no-untyped-call]
            sign = self._signs.popleft()
            sign.copied.synchronize()
            if not sign.value.isfinite():
                yield sign.what, sign.place

    def clear(self) -> None:
        """Drop the values that have not arrived."""
        self._signs.clear()
