# SPDX-License-Identifier: Apache-2.0
"""Hold what a user asks of `shrink`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_SEEDS = 16  # what is added to a seed for parts that are drawn apart


@dataclass(frozen=True)
class Question:
    """Say what is asked.

    Attributes:
        keep: Share of the whole vectors' quality that must be kept.
        budget: Bytes of a vector at most; None asks for the fewest.
        confidence: Of the certificate.
        seed: Decides the parts and the fits.
        kinds: What columns of a store hold, as in `lightning_monocon.codes.candidates.STORED`, if a store must rank the
            code by itself; empty for every code.
    """

    keep: float = 0.95
    budget: int | None = None
    confidence: float = 0.95
    seed: int = 0
    kinds: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not 0 < self.keep <= 1:
            raise ValueError(f"`--keep` must be a share above 0 and at most 1, such as 0.95; got {self.keep}.")
        if not 0 < self.confidence < 1:
            raise ValueError(f"`--confidence` must lie between 0 and 1, such as 0.95; got {self.confidence}.")
        if not -(2**63) < self.seed < 2**63 - _SEEDS:
            raise ValueError(f"`--seed` must be an integer of 64 bits, such as 0; got {self.seed}.")
        if self.budget is not None and self.budget < 1:
            raise ValueError(f"`--budget` must be at least 1 byte; got {self.budget}.")
