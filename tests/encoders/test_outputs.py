# SPDX-License-Identifier: Apache-2.0
"""What an encoder may return: anything but rows of features is met by one sentence that says what to wrap it in."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lightning_monocon import MonoCon
from lightning_monocon.callbacks import EncoderPretraining
from lightning_monocon.data import DigitsData
from lightning_monocon.encoders import SmallCNN

ROWS, WIDTH = 8, 6
LABELS = torch.arange(ROWS) % 4


class Returning(nn.Module):
    """An encoder that makes something of its features."""

    def __init__(self, make: Any) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)
        self.make = make

    def forward(self, inputs: Tensor) -> Any:
        return self.make(self.layer(inputs))


STEPS = ["training_step", "validation_step", "test_step", "predict_step", "forward"]


def step(name: str, encoder: nn.Module, inputs: Any = None, **options: Any) -> Any:
    module = MonoCon(encoder, **{"in_features": WIDTH, **options})
    inputs = torch.randn(ROWS, WIDTH) if inputs is None else inputs
    return module(inputs) if name == "forward" else getattr(module, name)((inputs, LABELS), 0)


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda rows: (rows, rows),
            r"got tuple of Tensor, Tensor\. Wrap it in a module whose `forward` returns the one",
        ),
        (lambda rows: {"out": rows}, r"got dict with out\. Wrap it in a module whose `forward` returns the one tensor"),
        (lambda rows: rows[:, None].expand(-1, 3, -1), r"tensor of shape \(8, 3, 6\)\. .* such as `self\.encoder\(inp"),
        (lambda rows: rows[..., None, None], r"of shape \(8, 6, 1, 1\)\. Wrap it: torch\.nn\.Sequential\(encoder, tor"),
        (lambda rows: rows[0], r"tensor of shape \(6,\)\. .* keeps the dimension of the batch; look for a `squeeze"),
        (lambda rows: rows.argmax(1, keepdim=True), r"a torch\.int64 tensor of shape \(8, 1\)\. .* and not indices"),
        (lambda rows: rows.tolist(), r"got list of list, list.*\. Wrap it in a module whose `forward` returns the"),
    ],
    ids=["tuple", "dict", "tokens", "maps", "squeezed", "integers", "lists"],
)
def test_no_rows(name: str, make: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=r"`encoder` must return features \(B, D\), one row of .*" + sentence):
        step(name, Returning(make))


@pytest.mark.parametrize("head", ["monotonic", "mlp", "none"])
@pytest.mark.parametrize("name", STEPS)
def test_another_width(name: str, head: Any) -> None:
    with pytest.raises(
        ValueError,
        match=r"`in_features` must be the width of the encoder's output, which is 6; got 9\..*--model\.in_features 6",
    ):
        step(name, Returning(lambda rows: rows), in_features=9, head=head)


@pytest.mark.parametrize("name", STEPS[:4])
def test_another_number_of_rows(name: str) -> None:
    with pytest.raises(ValueError, match="`labels` must hold 16 integers, one per embedding; got 8"):
        step(name, Returning(lambda rows: rows.repeat(2, 1)))


def test_a_head_of_the_users_own_knows_its_width_itself() -> None:
    module = MonoCon(Returning(lambda rows: rows[:, :3]), nn.Linear(3, 2))
    assert module(torch.randn(ROWS, WIDTH)).shape == (ROWS, 2)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_any_floating_dtype_is_good(dtype: torch.dtype) -> None:
    assert step("predict_step", Returning(lambda rows: rows.to(dtype)), head="none")["features"].shape == (ROWS, WIDTH)


def test_a_short_last_batch_that_a_squeeze_flattens_is_named_too() -> None:
    module = MonoCon(Returning(torch.squeeze), in_features=WIDTH, warmup_epochs=0)
    samples = [(torch.randn(WIDTH), label % 2) for label in range(5)]
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = L.Trainer(accelerator="cpu", logger=False, **quiet)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"tensor of shape \(6,\)\. .* look for a `squeeze\(\)`"):
        trainer.validate(module, DataLoader(samples, batch_size=4), verbose=False)  # type: ignore[arg-type]


@pytest.fixture
def backbones() -> dict[str, nn.Module]:
    """Raw models of transformers, with random weights."""
    transformers = pytest.importorskip("transformers", reason="the text extra is not installed")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    text = transformers.BertConfig(vocab_size=30, max_position_embeddings=8, **sizes)
    image = transformers.ViTConfig(image_size=16, patch_size=8, **sizes)
    return {"text": transformers.BertModel(text), "image": transformers.ViTModel(image)}


@pytest.mark.parametrize("name", STEPS)
def test_a_raw_backbone_of_transformers_says_what_to_wrap_it_in(backbones: dict[str, nn.Module], name: str) -> None:
    tokens, pictures = torch.ones(ROWS, 5, dtype=torch.long), torch.randn(ROWS, 3, 16, 16)
    for kind, inputs in (("text", tokens), ("image", pictures)):
        with pytest.raises(
            ValueError, match=r"got BaseModelOutput.* with last_hidden_state, .*TextEncoder or Transformer"
        ):
            step(name, backbones[kind], inputs, in_features=16)


@pytest.mark.parametrize("name", STEPS[:4])
def test_a_backbone_that_takes_keywords_says_what_to_wrap_it_in(backbones: dict[str, nn.Module], name: str) -> None:
    tokens = torch.ones(ROWS, 5, dtype=torch.long)
    inputs = {"input_ids": tokens, "attention_mask": tokens}
    with pytest.raises(
        TypeError, match=r"BertModel takes input_ids, attention_mask by keyword. Build a model of transf"
    ):
        step(name, backbones["text"], inputs, in_features=16)


def test_the_wrapping_that_the_sentences_name_works(backbones: dict[str, nn.Module]) -> None:
    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = backbones["text"]

        def forward(self, inputs: dict[str, Tensor]) -> Tensor:
            rows: Tensor = self.encoder(**inputs).last_hidden_state.mean(dim=1)
            return rows

    tokens = torch.ones(ROWS, 5, dtype=torch.long)
    assert step("predict_step", Pooled(), {"input_ids": tokens}, in_features=16)["embeddings"].shape == (ROWS, 16)
    maps = nn.Sequential(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert step("forward", maps, torch.randn(ROWS, 3, 8, 8), in_features=5).shape == (ROWS, 5)


def test_an_error_of_the_encoders_own_on_a_mapping_is_left_alone() -> None:
    class Failing(nn.Module):
        def forward(self, inputs: Any) -> Tensor:
            raise KeyError("the encoder's own")

    for name in ("image", "inputs"):  # the one argument may be called as an entry is
        with pytest.raises(KeyError, match="the encoder's own"):
            step("training_step", Failing(), {name: torch.zeros(ROWS)})


def test_pretraining_checks_the_encoder_too() -> None:
    class Tokens(SmallCNN):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images)[:, None]

    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = L.Trainer(accelerator="cpu", logger=False, callbacks=[EncoderPretraining()], max_epochs=1, **quiet)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"`encoder` must return features \(B, D\), .* pools the tokens"):
        trainer.fit(MonoCon(Tokens(1, (4, 8)), warmup_epochs=0), datamodule=DigitsData(seed=0))
