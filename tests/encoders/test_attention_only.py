# SPDX-License-Identifier: Apache-2.0
"""Attention alone: causal, and against attention written out in float64."""

from __future__ import annotations

import pytest
import torch

from lightning_monocon.encoders.attention_only import AttentionOnlyEncoder, CausalAttention


def test_a_layer_is_softmax_of_scaled_products_over_the_past() -> None:
    torch.manual_seed(0)
    layer, stream = CausalAttention(12, heads=3).double(), torch.randn(2, 5, 12, dtype=torch.float64)
    normed = torch.nn.functional.layer_norm(stream, (12,))
    query, key, value = (normed @ layer.query_key_value.weight.T).split(12, dim=-1)
    parts = []
    for head in range(3):
        q, k, v = (each[..., 4 * head : 4 * head + 4] for each in (query, key, value))
        scores = q @ k.transpose(1, 2) / 2.0
        scores = scores.masked_fill(torch.ones(5, 5, dtype=torch.bool).triu(1), -torch.inf)
        parts.append(scores.softmax(-1) @ v)
    torch.testing.assert_close(layer(stream), torch.cat(parts, -1) @ layer.out.weight.T)


def test_the_future_changes_nothing() -> None:
    torch.manual_seed(0)
    encoder, tokens = AttentionOnlyEncoder(20, 10), torch.randint(20, (2, 10))
    changed = tokens.clone()
    changed[:, 6:] = (tokens[:, 6:] + 1) % 20
    torch.testing.assert_close(encoder(tokens)[:, :6], encoder(changed)[:, :6])
    assert encoder(tokens).shape == (2, 10, encoder.out_features)


def test_bad_sizes_and_long_sequences_are_named() -> None:
    with pytest.raises(ValueError, match="the heads must divide the width; got 256, 128, 2, 64, 5"):
        AttentionOnlyEncoder(attention_heads=5)
    with pytest.raises(ValueError, match="`context` must be at least the length of a sequence, 9; got 8"):
        AttentionOnlyEncoder(20, 8)(torch.zeros(1, 9, dtype=torch.long))
