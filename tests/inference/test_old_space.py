# SPDX-License-Identifier: Apache-2.0
"""The old model embeds as it did when its vectors were stored, whatever the trainer does around it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lightning_monocon.inference.old_space import OldSpace


class Old(nn.Sequential):
    """A model with a dropout and a width."""

    def __init__(self, out_features: object = 3) -> None:
        super().__init__(nn.Linear(4, 3), nn.Dropout(0.9))
        self.out_features = out_features


def test_rows_are_unit_frozen_and_without_dropout_in_any_precision() -> None:
    model = Old().train()
    old, x = OldSpace.of(model), torch.randn(5, 4)
    expected = nn.functional.normalize(model[0](x)).detach()
    with torch.autocast("cpu", torch.bfloat16):
        found = old(x)
    torch.testing.assert_close(found, expected)
    assert not found.requires_grad
    torch.testing.assert_close(old(x.bfloat16()), expected, rtol=0.05, atol=0.05)
    assert model.training and all(part.requires_grad for part in model.parameters()), "the caller's module is its own"


def test_an_old_model_of_half_precision_may_embed_at_the_origin() -> None:
    model = Old().half()
    nn.init.zeros_(model[0].bias)
    found = OldSpace.of(model)(torch.tensor([[0.0] * 4, [1.0] * 4]))
    assert found.dtype == torch.float32
    assert not found[0].any() and found[1].norm().item() == pytest.approx(1.0)


def test_later_training_of_the_given_module_does_not_move_the_space() -> None:
    model, x = Old(), torch.randn(5, 4)
    old = OldSpace.of(model)
    before = old(x)
    with torch.no_grad():
        model[0].weight.add_(1.0)
    torch.testing.assert_close(old(x), before)
    assert OldSpace.of(model).describe() != old.describe(), "other weights are another space"


def test_the_trainer_of_a_trained_module_is_not_copied() -> None:
    class Trainer:
        def __deepcopy__(self, memo: dict[int, object]) -> None:
            raise AssertionError("a trainer holds all training data")

    model = Old()
    model._trainer = Trainer()
    assert OldSpace.of(model)(torch.randn(2, 4)).shape == (2, 3)


def test_a_mapping_of_inputs_reaches_the_model() -> None:
    class Words(nn.Module):
        out_features = 2

        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(5, 2)

        def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
            return self.table(inputs["ids"]) * inputs["weight"][:, None]

    inputs = {"ids": torch.arange(3), "weight": torch.ones(3, dtype=torch.float64)}
    assert OldSpace.of(Words())(inputs).shape == (3, 2)


def test_a_module_without_a_width_is_refused() -> None:
    with pytest.raises(ValueError, match="`compatible_with` must say how wide its vectors are; Old has no integer"):
        OldSpace.of(Old(None))


def test_a_module_of_another_width_than_it_states_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`compatible_with` must return vectors \(B, 5\).*got \(2, 3\)"):
        OldSpace.of(Old(5))(torch.randn(2, 4))


def test_a_description_alone_cannot_embed() -> None:
    with pytest.raises(ValueError, match="`compatible_with` must be given to train on"):
        OldSpace(3, "5f3a")(torch.randn(2, 4))
