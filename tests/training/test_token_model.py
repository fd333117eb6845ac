# SPDX-License-Identifier: Apache-2.0
"""A token model learns by the cross-entropy of the positions that have a label."""

from __future__ import annotations

import torch
from torch import nn

from lightning_monocon.encoders.attention_only import AttentionOnlyEncoder
from lightning_monocon.training.token_model import TokenModel


def test_the_loss_is_the_mean_over_judged_positions() -> None:
    torch.manual_seed(0)
    model = TokenModel(AttentionOnlyEncoder(7, 5, width=8, attention_heads=2), 7)
    model.log = lambda *_, **__: None  # type: ignore[assignment,method-assign]  # no trainer
    tokens = torch.randint(7, (3, 5))
    labels = torch.randint(7, (3, 5))
    labels[0, :3] = -100
    logits = model(tokens).double()
    surprises = [
        -float(logits[row, place].log_softmax(-1)[labels[row, place]].detach())
        for row in range(3)
        for place in range(5)
        if labels[row, place] >= 0
    ]
    torch.testing.assert_close(
        float(model.training_step((tokens, labels), 0).detach()), sum(surprises) / len(surprises), rtol=1e-5, atol=0
    )
    assert isinstance(model.head, nn.Linear)
