# SPDX-License-Identifier: Apache-2.0
"""Check that each hostile batch has one sentence that names what was given and the remedy."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from helpers.plain_runs import trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from lightning_monocon import MonoCon
from lightning_monocon.training.batches import share_without_positive
from lightning_monocon.watching.probe import labels_of

ROWS = 8
NUMBERS = torch.arange(ROWS) % 4
ONE_HOT = nn.functional.one_hot(NUMBERS, 4)


def step(labels: Any, rows: int = ROWS) -> Tensor | None:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "You are trying to `self.log")
        return MonoCon(nn.Linear(6, 8)).training_step((torch.randn(rows, 6), labels), 0)


@pytest.mark.parametrize(
    ("labels", "kind", "sentence"),
    [
        (NUMBERS.float(), TypeError, r"`labels` must be integers, .* dtype torch.float32. Cast class numbers with"),
        (NUMBERS.half(), TypeError, r"`labels` must be integers, .* dtype torch.float16"),
        (NUMBERS.to(torch.complex64), TypeError, r"`labels` must be integers, .* dtype torch.complex64"),
        (NUMBERS > 1, TypeError, r"`labels` must be integers, .* dtype torch.bool"),
        (ONE_HOT, ValueError, r"shape \(B,\); got shape \(8, 4\) .*one-hot rows become class numbers by `labels.argm"),
        (ONE_HOT.float(), ValueError, r"got shape \(8, 4\) and dtype torch.float32: one-hot rows become"),
        (NUMBERS[:, None], ValueError, r"got shape \(8, 1\) .*a column becomes a row of numbers by `labels.squeeze"),
        (torch.tensor(3), ValueError, r"`labels` must hold one integer per input, shape \(B,\); got shape \(\)"),
        (NUMBERS[:-1], ValueError, r"`labels` must hold 8 integers, one per embedding; got 7. Check the collate"),
        (NUMBERS.repeat(2), ValueError, r"`labels` must hold 8 integers, one per embedding; got 16"),
        (NUMBERS.tolist(), ValueError, r"`batch` must hold its labels as one tensor .* got tuple of Tensor, list"),
        (None, ValueError, r"`batch` must hold its labels as one tensor .* got tuple of Tensor, NoneType"),
    ],
    ids=[
        *("float32", "float16", "complex", "bool", "one-hot", "floating one-hot", "column", "scalar"),
        *("too short", "too long", "list", "none"),
    ],
)
def test_wrong_labels(labels: Any, kind: type[Exception], sentence: str) -> None:
    with pytest.raises(kind, match=sentence):
        step(labels)


FORMS: dict[str, Any] = {
    "tuple": lambda x, y: (x, y),
    "list": lambda x, y: [x, y],
    "names behind": lambda x, y: (x, y, ["a.png"] * len(y)),
    "dict": lambda x, y: {"image": x, "target": y},
}
CALLERS = {
    "loss": lambda batch: Reading().training_step(batch, 0),
    "embedding": lambda batch: Reading().predict_step(batch, 0)["labels"],
    "probe": lambda batch: labels_of(DataLoader(Whole(batch), batch_size=None, collate_fn=lambda items: items[0])),
}


class Reading(MonoCon):
    """Reads its inputs from a mapping too."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(nn.Linear(6, 8))

    def log(self, *_: Any, **__: Any) -> None:
        pass

    def _encode(self, inputs: Any) -> Tensor:
        return super()._encode(inputs["image"] if isinstance(inputs, dict) else inputs)


class Whole(Dataset[Any]):
    """One batch as the only item."""

    def __init__(self, batch: Any) -> None:
        self.batch = batch

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Any:
        return self.batch


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("form", FORMS)
def test_every_caller_reads_a_batch_by_one_rule(form: str, caller: str) -> None:
    inputs = torch.randn(ROWS, 6, generator=torch.Generator().manual_seed(1))
    found = torch.as_tensor(CALLERS[caller](FORMS[form](inputs, NUMBERS)))
    usual = torch.as_tensor(CALLERS[caller]((inputs, NUMBERS)))
    assert torch.equal(found, usual)
    assert caller == "loss" or torch.equal(found, NUMBERS)


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("batch", [torch.zeros(ROWS, 6), (torch.zeros(ROWS, 6),), {"image": torch.zeros(ROWS, 6)}])
def test_every_caller_refuses_a_batch_without_labels(batch: Any, caller: str) -> None:
    sentence = r"`batch` must hold its labels as one tensor \(B,\) of integers: .* got "
    if caller == "probe" and isinstance(batch, dict):  # whose user may say where they are
        sentence = "`labels` must name the entry of the batch .* the batch is dict with image"
    with pytest.raises(ValueError, match=sentence):
        CALLERS[caller](batch)


@pytest.mark.parametrize("caller", ["loss", "embedding"])
def test_two_views_are_not_silently_one(caller: str) -> None:
    with pytest.raises(ValueError, match=r"`batch` must hold one input per label; got tuple of Tensor, Tensor, Tensor"):
        CALLERS[caller]((torch.zeros(ROWS, 6), torch.zeros(ROWS, 6), NUMBERS))


@pytest.mark.parametrize("caller", ["loss", "embedding"])
@pytest.mark.parametrize("side", [torch.zeros(ROWS, 6), {"input_ids": torch.zeros(ROWS, 6).long()}], ids=type)
def test_pairs_without_labels_are_told_how_to_be_labelled(side: Any, caller: str) -> None:
    with pytest.raises(
        ValueError, match=r"looks like pairs of inputs without any\. .* `torch\.arange\(pairs\)\.repeat\(2\)`"
    ):
        CALLERS[caller]((side, side))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64], ids=str)
def test_any_integer_is_a_label(dtype: torch.dtype) -> None:
    loss, usual = step(NUMBERS.to(dtype)), step(NUMBERS)
    assert loss is not None and usual is not None
    torch.testing.assert_close(loss, usual, rtol=0, atol=0)


def test_rows_that_are_no_rows() -> None:
    module = MonoCon(nn.Unflatten(1, (2, 3)), head="none", in_features=6)
    with pytest.raises(ValueError, match=r"got a torch.float32 tensor of shape \(8, 2, 3\). .* pools the tokens"):
        module.training_step((torch.randn(ROWS, 6), NUMBERS), 0)


def normed() -> MonoCon:
    encoder = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8))
    return MonoCon(encoder, in_features=8, warmup_epochs=0)


def fit(module: MonoCon, batches: list[tuple[Tensor, Tensor]]) -> L.Trainer:
    class Batches(torch.utils.data.IterableDataset[tuple[Tensor, Tensor]]):
        def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
            return iter(batches)

    run = trainer()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`training_step` returned `None`")
        warnings.filterwarnings("ignore", "Trying to infer the `batch_size`")
        warnings.filterwarnings("ignore", "You defined a `validation_step`")
        run.fit(module, torch.utils.data.DataLoader(Batches(), batch_size=None))
    return run


def batch(rows: int, labels: Tensor) -> tuple[Tensor, Tensor]:
    return torch.randn(rows, 6, generator=torch.Generator().manual_seed(rows)), labels


def test_an_empty_batch_is_skipped_and_counted() -> None:
    full, empty = batch(ROWS, NUMBERS), batch(0, NUMBERS[:0])
    torch.manual_seed(0)
    with_holes, without = normed(), normed()
    without.load_state_dict(with_holes.state_dict())
    fitted = fit(with_holes, [empty, full, empty, full])
    fit(without, [full, full])
    assert with_holes.empty_batches == 2
    assert fitted.callback_metrics["train/empty_batches"] == 2
    assert fitted.callback_metrics["train/loss"].isfinite()
    for name, value in without.state_dict().items():
        torch.testing.assert_close(with_holes.state_dict()[name], value, rtol=0, atol=0)


def test_a_batch_of_one_with_batch_norm_names_drop_last() -> None:
    with pytest.raises(ValueError, match=r"at least 2 inputs, since the model has batch norm; got 1. Set drop_last=Tr"):
        fit(normed(), [batch(ROWS, NUMBERS), batch(1, NUMBERS[:1])])


def test_other_errors_of_the_encoder_are_left_alone() -> None:
    class Failing(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            raise ValueError("the encoder's own")

    with pytest.raises(ValueError, match="the encoder's own"):
        MonoCon(Failing(), in_features=6).training_step((torch.randn(ROWS, 6), NUMBERS), 0)


def test_a_batch_without_positives_warns_once_with_the_share() -> None:
    lonely = batch(ROWS, torch.arange(ROWS))
    with pytest.warns(UserWarning) as caught:
        fit(normed(), [lonely, lonely])
    texts = [str(warning.message) for warning in caught if "positive" in str(warning.message)]
    assert len(texts) == 1
    assert texts[0].startswith("100% of the 8 inputs of a batch are alone with their label")


def test_a_loss_of_each_input_by_itself_needs_no_positives(recwarn: pytest.WarningsRecorder) -> None:
    options: dict[str, Any] = {
        "in_features": 6,
        "out_features": ROWS,
        "loss": nn.CrossEntropyLoss(),
        "warmup_epochs": 0,
    }
    fit(MonoCon(nn.Identity(), head="linear", **options), [batch(ROWS, torch.arange(ROWS))])
    assert not [each for each in recwarn if "positive" in str(each.message)]


def test_one_class_and_pairs_are_fine() -> None:
    fit(normed(), [batch(ROWS, torch.zeros(ROWS, dtype=torch.long)), batch(ROWS, NUMBERS)])
    assert share_without_positive(torch.tensor([-1, 9, 9, 2, 2, 2, 5])) == pytest.approx(2 / 7)
    assert share_without_positive(torch.tensor([], dtype=torch.long)) == 0
