# SPDX-License-Identifier: Apache-2.0
"""Encode sequences of tokens by attention alone, the smallest network that can learn induction.

A layer is ``x + attention(norm(x))``, causal, without a feed-forward part. One layer can look up what followed a token
only by its position; two can compose "the token before" with "equal to this token", which is an induction head
(arXiv 2209.11895).
"""

from __future__ import annotations

from torch import Tensor, arange, nn


class AttentionOnlyEncoder(nn.Module):
    """Map sequences of tokens ``(B, T)`` to features ``(B, T, width)``.

    Args:
        vocabulary: Number of tokens V; tokens are 0..V - 1.
        context: Longest sequence.
        layers: Number of attention layers.
        width: Width of the residual stream.
        attention_heads: Number of heads of each layer.

    Raises:
        ValueError: If a size is not positive, or the heads do not divide the width.
    """

    def __init__(
        self, vocabulary: int = 256, context: int = 128, layers: int = 2, width: int = 64, attention_heads: int = 4
    ) -> None:
        super().__init__()
        sizes = (vocabulary, context, layers, width, attention_heads)
        if min(sizes) < 1 or width % attention_heads:
            raise ValueError(
                "`vocabulary`, `context`, `layers`, `width` and `attention_heads` must be positive, and the heads must "
                f"divide the width; got {', '.join(map(str, sizes))}."
            )
        self.vocabulary, self.context, self.width = vocabulary, context, width
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.layers = nn.ModuleList(CausalAttention(width, attention_heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        for weights in self.parameters():
            if weights.ndim > 1:  # small weights, as in GPT-2: with larger ones induction takes several times as long
                nn.init.normal_(weights, std=0.02)

    @property
    def out_features(self) -> int:
        """Return the number of features per token."""
        return self.width

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens ``(B, T)`` with ``T <= context`` to features ``(B, T, out_features)``."""
        length = tokens.shape[1]
        if length > self.context:
            raise ValueError(f"`context` must be at least the length of a sequence, {length}; got {self.context}.")
        stream: Tensor = self.tokens(tokens) + self.positions(arange(length, device=tokens.device))
        for layer in self.layers:
            stream = stream + layer(stream)
        normed: Tensor = self.norm(stream)
        return normed


class CausalAttention(nn.Module):
    """Normalise a stream ``(B, T, width)`` and attend to the positions up to each."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, stream: Tensor) -> Tensor:
        """Return what the layer adds to the stream, of the same shape."""
        split = self.query_key_value(self.norm(stream)).unflatten(-1, (3, self.heads, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4)  # each (B, heads, T, width of a head)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        added: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return added
