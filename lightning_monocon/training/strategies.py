# SPDX-License-Identifier: Apache-2.0
"""Check that a trainer's strategy fits contrastive batches that are larger than memory."""

from __future__ import annotations

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from lightning.pytorch.utilities import rank_zero_warn
from torch import nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.modules.batchnorm import _BatchNorm


def check_chunk_size(chunk_size: int | None) -> None:
    """Check the number of samples that are embedded at a time; raise ValueError if it is less than 1."""
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(
            f"`chunk_size` must be at least 1, or None to embed the batch as a whole; got {chunk_size}. Take what fits "
            "into memory."
        )


def check_chunked_training(trainer: Trainer, modules: list[nn.Module]) -> None:
    """Raise RuntimeError if a strategy may shard parameters, and warn about batch norm."""
    if not isinstance(trainer.strategy, DDPStrategy | SingleDeviceStrategy):
        raise RuntimeError(
            f"`chunk_size` must be None with {type(trainer.strategy).__name__}: chunks are embedded again in the "
            "backward pass, where sharded parameters are not available. Use strategy='ddp', or drop chunk_size."
        )
    if any(isinstance(layer, _BatchNorm) for module in modules for layer in module.modules()):
        rank_zero_warn(
            "With `chunk_size`, batch norm takes its statistics from each chunk, not from the batch, so the gradient "
            "is exact for batch norm over chunks. Use group or layer norm, or chunks that are large enough for their "
            "statistics."
        )


def shard(module: LightningModule, parts: list[nn.Module]) -> None:
    """Shard the parameters of some parts over the ranks (FSDP 2), each part on its own.

    Args:
        module: Module that was set up with `ModelParallelStrategy` and knows its mesh.
        parts: Encoder and head; parts without parameters, or already sharded, are skipped.

    Raises:
        ValueError: If the mesh has a tensor dimension, or a parameter outside the parts learns, whose gradient would
            not be averaged over the ranks.
    """
    mesh = module.device_mesh
    if mesh is None or mesh["tensor_parallel"].size() > 1:
        raise ValueError(
            "`strategy` must shard over data-parallel ranks only; got tensor-parallel ones, Lightning's default. Use "
            "ModelParallelStrategy(data_parallel_size=<devices>, tensor_parallel_size=1)."
        )

    inside = {id(parameter) for part in parts for parameter in part.parameters()}
    outside = [name for name, p in module.named_parameters() if p.requires_grad and id(p) not in inside]
    if outside:
        raise ValueError(
            f"`loss` must not learn where parameters are sharded, got {', '.join(outside)}. Take a temperature that is "
            "a number, or strategy='ddp'."
        )

    for part in parts:
        if any(True for _ in part.parameters()) and not isinstance(part, FSDPModule):
            fully_shard(part, mesh=mesh["data_parallel"])


class AccumulationWatch:
    """Warn once that accumulating gradients does not enlarge the contrastive batch."""

    def __init__(self) -> None:
        self.warned = False

    def __call__(self, batches: int) -> None:
        """Check the number of batches whose gradients are accumulated in the next epoch."""
        if batches < 2 or self.warned:
            return
        self.warned = True
        rank_zero_warn(
            f"`accumulate_grad_batches` = {batches} adds no negatives: each of the {batches} batches is contrasted "
            "with itself alone. For a larger contrastive batch raise the batch size instead, with `chunk_size` if "
            "memory is short. (This warning is given once.)"
        )
