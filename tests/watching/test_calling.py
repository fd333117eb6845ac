# SPDX-License-Identifier: Apache-2.0
"""A module is called with its inputs as its `forward` takes them, and in the precision of its trainer."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as L
import pytest
import torch
from torch import Tensor, nn

from lightning_monocon.watching.calling import as_in_training, call

IDS, MASK = torch.ones(1, 2, dtype=torch.long), torch.zeros(1, 2)


class ByName(nn.Module):
    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> object:
        return input_ids, attention_mask


class Any_(nn.Module):  # a word of Python's
    def forward(self, *args: Any, **kwargs: Any) -> object:
        return args, set(kwargs)


class Whole(nn.Module):
    def forward(self, batch: Any) -> object:
        return batch


def test_a_mapping_is_passed_as_forward_takes_it() -> None:
    batch = {"input_ids": IDS, "attention_mask": MASK}
    assert call(ByName(), batch) == (IDS, MASK)
    assert call(ByName(), {**batch, "text": ["a"]}) == (IDS, MASK)
    assert call(ByName(), {"input_ids": IDS}) == (IDS, None)
    assert call(Any_(), batch) == ((), {"input_ids", "attention_mask"})
    assert call(Whole(), batch) is batch
    assert call(ByName(), IDS) == (IDS, None)


class Plain(L.LightningModule):
    """A module without a `forward` of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Linear(2, 2)


def test_without_a_forward_the_submodule_is_called() -> None:
    module, inputs = Plain(), torch.ones(1, 2)
    with as_in_training(module, "model") as ask:
        assert torch.equal(ask(inputs), module.model(inputs))


@pytest.mark.parametrize(("precision", "dtype"), [("32-true", torch.float32), ("bf16-mixed", torch.bfloat16)])
def test_the_precision_is_that_of_the_trainer(precision: Any, dtype: torch.dtype) -> None:
    module = Plain()
    module.trainer = L.Trainer(accelerator="cpu", precision=precision, logger=False, enable_checkpointing=False)
    with as_in_training(module, "model") as ask:
        assert ask(torch.ones(1, 2)).dtype is dtype
    assert not torch.is_autocast_enabled("cpu")


def test_compiled_code_is_not_compiled_for_the_probe() -> None:
    graphs: list[int] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        graphs.append(len(inputs))
        return graph.forward

    module = Plain()
    module.model = torch.compile(module.model, backend=backend)  # type: ignore[assignment]
    module.model(torch.ones(4, 2))
    with as_in_training(module, "model") as ask:
        ask(torch.ones(3, 2))
    assert len(graphs) == 1


def test_a_module_without_forward_is_told_to_name_its_layer() -> None:
    class Parts(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = nn.Linear(2, 2)

    with pytest.raises(ValueError, match="`layer` must name the submodule to call, such as trunk, since Parts defines"):
        with as_in_training(Parts()):
            pass
    with as_in_training(Parts(), "trunk") as called:
        assert called(torch.ones(1, 2)).shape == (1, 2)
