# SPDX-License-Identifier: Apache-2.0
"""A text model of a few thousand weights with its tokenizer, made on the spot: no network, no file that travels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

WORDS = "a man woman dog cat is are runs sleeps eats outside inside park red blue ball plays with the two".split()
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def save_tokenizer(folder: Path, words: list[str] = WORDS) -> Path:
    """Write a WordPiece tokenizer of whole words."""
    from transformers import BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join([*SPECIAL, *words]))
    BertTokenizerFast.from_pretrained(folder).save_pretrained(folder)
    return folder


def save_model(folder: Path, dropout: float = 0.0, layers: int = 1) -> Path:
    """Write a BERT of width 16 with random weights, its tokenizer beside it."""
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=len(SPECIAL) + len(WORDS),
        hidden_size=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        initializer_range=0.5,  # BERT's 0.02 is for 384 dimensions and more
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    return save_tokenizer(folder)


class BagOfWords(nn.Module):
    """A text encoder of the user's own: it takes what the tokenizer gives, and no model of transformers."""

    def __init__(self, tokens: int = 25, out_features: int = 16) -> None:
        super().__init__()
        self.out_features = out_features
        self.table = nn.EmbeddingBag(tokens, out_features)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return ``(B, out_features)``."""
        features: Tensor = self.table(inputs["input_ids"], per_sample_weights=None)
        return features
