# SPDX-License-Identifier: Apache-2.0
"""Hold the non-tensor options of the contrastive losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from lightning_monocon.distributed import RowGather

Singletons = Literal["zero", "skip", "error"]
Precision = Literal["auto", "fp16", "tf32", "bf16x3", "ieee"]

KEEP_BYTES = 64 << 20


@dataclass(frozen=True)  # the transforms of torch.func would unpack a tuple
class Options:
    """Non-tensor options of the contrastive losses."""

    normalize: bool = True
    """Whether to scale the rows to unit length first."""
    singletons: Singletons = "zero"
    """Whether an anchor without a positive counts as 0 in the mean, is left out of it, or raises."""
    ignore_index: int | None = None
    """Label of the rows that are in no pair."""
    block_size: int = 512
    """Side of a tile of pairs in plain torch."""
    bounded: bool = False
    """Whether all logits are known to be within `tiles.EXPONENT_LIMIT`."""
    compare: bool = True
    """Whether the kernels find positives by comparing labels, not by class sums (`shapes.compares_labels`)."""
    precision: Precision = "auto"
    """How the kernels multiply. "fp16" and "tf32" keep eleven bits (gradients accurate to about 3e-4), "bf16x3" and
    "ieee" keep float32. "auto" is "bf16x3", or "fp16" if the program accepts such rounding (`shapes.resolved`)."""
    keep_bytes: int = KEEP_BYTES
    """Bytes of exponentials that a CPU may keep from the forward to the backward pass."""
    check_values: bool = False
    """Whether the loss between two sets refuses rows that are not finite or have no direction. It asks where lengths
    are at hand, so that they are computed once."""
    gather: RowGather | None = None
    """The layout of the rows over ranks; None on one rank."""

    @property
    def start(self) -> int:
        """Index of this rank's first row among the rows of all ranks."""
        return self.gather.start if self.gather else 0

    @property
    def ranks(self) -> int:
        """Number of ranks that share the batch."""
        return self.gather.world_size if self.gather else 1
