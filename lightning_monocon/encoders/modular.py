# SPDX-License-Identifier: Apache-2.0
"""Encode pairs of residues for arithmetic modulo p: shared embedding, concatenation, linear layer, square."""

from __future__ import annotations

from torch import Tensor, nn


class ModularEncoder(nn.Module):
    """Map pairs of residues ``(N, 2)`` to features ``(N, width)``.

    Args:
        modulus: Number of residues p.
        embedding: Width of the embedding that both residues share.
        width: Number of features.

    Raises:
        ValueError: If a size is not positive.
    """

    def __init__(self, modulus: int = 59, embedding: int = 64, width: int = 128) -> None:
        super().__init__()
        if min(modulus, embedding, width) < 1:
            raise ValueError(f"`modulus`, `embedding` and `width` must be positive, got {modulus, embedding, width}.")
        self.modulus, self.width = modulus, width
        self.residues = nn.Embedding(modulus, embedding)
        self.mix = nn.Linear(2 * embedding, width)

    @property
    def out_features(self) -> int:
        """Return the number of features per pair."""
        return self.width

    def spec(self) -> dict[str, int]:
        """Return the constructor's arguments as plain values."""
        return {"modulus": self.modulus, "embedding": self.residues.embedding_dim, "width": self.width}

    def forward(self, pairs: Tensor) -> Tensor:
        """Map pairs ``(N, 2)`` of integers to features ``(N, out_features)``."""
        hidden: Tensor = self.mix(self.residues(pairs).flatten(1))
        return hidden.square()
