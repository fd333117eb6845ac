# SPDX-License-Identifier: Apache-2.0
"""A probe is drawn evenly, fixed by its seed, and evaluated without leaving a trace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from helpers.plain_runs import four_classes
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from lightning_monocon.watching.loaders import with_labels
from lightning_monocon.watching.probe import draw_probe, evaluate


class Tiny(L.LightningModule):
    """A network with running statistics and random numbers, which an evaluation must not touch."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.Dropout(0.3))
        self.out = nn.Linear(32, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        result: Tensor = self.out(self.trunk(inputs))
        return result


@pytest.mark.parametrize(("train", "val", "size"), [(80, 0, 32), (0, 60, 32), (80, 60, 4)])
def test_a_probe_of_nothing_is_an_error(train: int, val: int, size: int) -> None:
    with pytest.raises(ValueError, match=r"`probe` must take at least 6 inputs, half of them from each set; got "):
        draw_probe(four_classes(train, 0), four_classes(val, 1), size, 0)


def test_the_probe_is_stratified_hashed_and_fixed_by_its_seed() -> None:
    train, val = four_classes(80, 0), four_classes(60, 1)
    one, again, other = (draw_probe(train, val, 40, seed) for seed in (0, 0, 1))
    assert one.labels[:20].bincount().tolist() == one.labels[20:].bincount().tolist() == [5, 5, 5, 5]
    assert one.fingerprint == again.fingerprint != other.fingerprint
    subset = DataLoader(Subset(train.dataset, list(range(40))), batch_size=8)
    assert draw_probe(subset, val, 24, 0).labels.bincount().tolist() == [6, 6, 6, 6]


def test_evaluation_restores_modes_and_random_states() -> None:
    module = Tiny()
    module.train()
    module.trunk[1].eval()
    before = torch.get_rng_state()
    rows = evaluate(module, draw_probe(four_classes(80, 0), four_classes(60, 1), 40, 0), layer="trunk")
    assert rows.shape == (40, 32)
    assert [part.training for part in module.trunk] == [True, False, True]
    assert torch.equal(torch.get_rng_state(), before)
    assert not module.trunk._forward_hooks


def test_outputs_that_are_no_rows_are_named() -> None:
    class Odd(Tiny):
        def forward(self, inputs: Tensor) -> Any:  # type: ignore[override]
            return {"logits": inputs}

    with pytest.raises(
        ValueError, match=r"`forward` must return one row of .* per input, \(B, D\); got dict with logits"
    ):
        evaluate(Odd(), draw_probe(four_classes(80, 0), four_classes(60, 1), 40, 0))


def test_outputs_of_too_few_rows_are_named() -> None:
    class Half(Tiny):
        def forward(self, inputs: Tensor) -> Tensor:
            return super().forward(inputs)[::2]

    with pytest.raises(ValueError, match=r"`forward` must return one row per input; got 20 rows for 40 inputs in eval"):
        evaluate(Half(), draw_probe(four_classes(80, 0), four_classes(60, 1), 40, 0))


def _by_domain(count: int) -> DataLoader[Any]:
    items = [{"x": torch.randn(8), "labels": n % 4, "domain": "law" if n % 3 else "news"} for n in range(count)]
    return DataLoader(items, batch_size=8)  # type: ignore[arg-type]


def test_a_column_splits_classes_into_strata_and_is_no_input() -> None:
    probe = draw_probe(_by_domain(60), _by_domain(60), 24, 0, strata="domain")
    assert set(probe.names) == {"train/law", "train/news", "val/law", "val/news"}
    assert all(set(inputs) == {"x"} for inputs in probe.batches)
    with pytest.raises(ValueError, match=r"`strata` must be repetition, .*, or an entry of the batch, .*; got 'topic'"):
        draw_probe(_by_domain(60), _by_domain(60), 24, 0, strata="topic")


class _Marked(TensorDataset):
    """A set that says of each item where it comes from."""

    def __init__(self, count: int, origins: list[str] | None) -> None:
        super().__init__(torch.arange(count).float()[:, None], torch.arange(count) % 4)
        self.origins = origins


def test_an_attribute_of_a_set_splits_its_items_into_strata() -> None:
    train = DataLoader(_Marked(60, ["bad" if n % 5 == 0 else "good" for n in range(60)]), batch_size=8)
    val = DataLoader(_Marked(40, None), batch_size=8)
    probe = draw_probe(train, val, 48, 0, strata="origins")
    drawn = torch.cat([batch.flatten() for batch in probe.batches]).tolist()
    expected = ["train/bad" if n % 5 == 0 else "train/good" for n in drawn[:24]] + ["val"] * 24
    assert list(probe.names) == expected
    part = DataLoader(Subset(train.dataset, range(0, 60, 5)), batch_size=8)
    assert set(draw_probe(part, val, 16, 0, strata="origins").names) == {"train/bad", "val"}
    torn = DataLoader(_Marked(60, ["bad"] * 59), batch_size=8)
    with pytest.raises(
        ValueError, match=r"a value for each of the 60 items of _Marked; 'origins' has the shape \(59,\)"
    ):
        draw_probe(torn, val, 48, 0, strata="origins")


def test_a_probe_of_one_class_is_an_error() -> None:
    one = DataLoader([(torch.zeros(8), 3)] * 20, batch_size=8)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`probe` must hold at least two classes; all of its 16 labels are 3"):
        draw_probe(one, one, 16, 0)


class _Stream(IterableDataset[Any]):
    """Fresh inputs of four classes from a generator of its own, which a probe must not advance."""

    def __init__(self, count: int = 10**9, *, ahead: bool = False) -> None:
        self.count, self.generator = count, torch.Generator().manual_seed(0)
        self.ahead: Iterator[int] | None = (number for number in range(9)) if ahead else None

    def __iter__(self) -> Iterator[Any]:
        for number in range(self.count):
            yield torch.randn(8, generator=self.generator), number % 4


def test_a_probe_of_a_stream_is_of_its_first_items_and_leaves_them_to_the_run() -> None:
    stream = DataLoader(_Stream(), batch_size=8)
    probe = draw_probe(stream, four_classes(60, 1), 40, 0)
    assert probe.labels[:20].bincount().tolist() == [5, 5, 5, 5]
    read = next(iter(DataLoader(_Stream(), batch_size=40)))[0]
    (inputs,) = probe.batches[:1]
    assert all(any(torch.equal(row, first) for first in read) for row in inputs)
    assert torch.equal(next(iter(stream))[0], read[:8]), "the run reads what it would have read"
    assert draw_probe(DataLoader(_Stream(), batch_size=8), four_classes(60, 1), 40, 0).fingerprint == probe.fingerprint


def test_a_stream_that_cannot_be_read_is_named() -> None:
    known = four_classes(60, 1)
    with pytest.warns(UserWarning, match="lowered to 20 inputs: half of it, 20, does not fit the 10 inputs of the val"):
        assert len(draw_probe(known, DataLoader(_Stream(10), batch_size=4), 40, 0).labels) == 20
    with pytest.raises(ValueError, match=r"loaders whose data sets can be copied, .* copying _Stream raised TypeError"):
        draw_probe(known, DataLoader(_Stream(ahead=True), batch_size=4), 40, 0)
    with pytest.raises(ValueError, match=r"the stream _Stream yields whole batches \(batch_size=None\). Let it yield"):
        draw_probe(DataLoader(_Stream(), batch_size=None), known, 40, 0)


def _species(count: int) -> DataLoader[Any]:
    """Batches with labels under a name of their own, beside others that have a known name."""
    items = [{"x": torch.full((8,), float(n)), "species": n % 3, "label": n % 5} for n in range(count)]
    return DataLoader(items, batch_size=8)  # type: ignore[arg-type]


def test_labels_are_the_entry_that_is_named() -> None:
    train, val = (with_labels(_species(count), "species") for count in (60, 45))
    probe = draw_probe(train, val, 30, 0)
    assert all(set(inputs) == {"x"} for inputs in probe.batches), "neither labels nor their namesakes are inputs"
    numbers = torch.cat([inputs["x"][:, 0].long() for inputs in probe.batches])
    assert torch.equal(probe.labels, numbers % 3)
    assert probe.labels.bincount().tolist() == [10, 10, 10]
    assert torch.equal(next(iter(train))["labels"], torch.arange(8) % 3)
    assert with_labels(val, None) is val


def test_a_named_entry_is_read_in_place_of_a_list_of_labels() -> None:
    class Marked(Dataset[Any]):
        targets = [0] * 30

        def __len__(self) -> int:
            return 30

        def __getitem__(self, index: int) -> Any:
            return {"x": torch.zeros(8), "species": index % 3}

    named = with_labels(DataLoader(Marked(), batch_size=8), "species")
    assert draw_probe(named, named, 18, 0).labels.bincount().tolist() == [6, 6, 6]


def test_a_batch_whose_labels_have_another_name_is_told_the_option() -> None:
    items = [{"x": torch.zeros(8), "species": n % 3} for n in range(20)]
    loader = DataLoader(items, batch_size=8)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"`labels` must name the entry .* got None, and the batch is dict with x, sp"):
        draw_probe(loader, loader, 16, 0)
    with pytest.raises(ValueError, match=r"`labels` must be an entry of the batch; got 'kind', and .* dict with x, sp"):
        draw_probe(with_labels(loader, "kind"), loader, 16, 0)


class _Listed(TensorDataset):
    """A set of inputs with a list of its labels, as those of torchvision have."""

    def __init__(self, labels: Tensor) -> None:
        super().__init__(torch.zeros(len(labels), 8), labels)
        self.targets = labels


@pytest.mark.parametrize("kind", [TensorDataset, _Listed])
@pytest.mark.parametrize(
    ("labels", "remedy"),
    [
        (
            torch.eye(4).repeat(10, 1),
            r"got shape \(40, 4\) .*one-hot rows become class numbers by `labels.argmax\(1\)`",
        ),
        (torch.arange(40)[:, None] % 4, r"got shape \(40, 1\) .*a column .* by `labels.squeeze\(1\)`"),
        (torch.rand(40), r"`labels` must be integers, .* dtype torch.float32"),
    ],
)
def test_labels_that_are_no_class_numbers_are_named(kind: Any, labels: Tensor, remedy: str) -> None:
    held = kind(labels) if kind is _Listed else kind(torch.zeros(40, 8), labels)
    with pytest.raises((ValueError, TypeError), match=remedy):
        draw_probe(DataLoader(held), four_classes(60, 1), 16, 0)


def test_an_input_without_a_label_is_not_drawn() -> None:
    labels = torch.arange(90) % 4
    labels[::3] = -100
    inputs = torch.arange(90.0)[:, None].expand(-1, 8)
    part = DataLoader(TensorDataset(inputs, labels), batch_size=8)
    probe = draw_probe(part, part, 60, 0)
    drawn = torch.cat(probe.batches)[:, 0].long()
    assert (drawn % 3 != 0).all()
    assert torch.equal(labels[drawn], probe.labels)
    few = DataLoader(TensorDataset(inputs[::3], labels[::3]), batch_size=8)
    with pytest.raises(ValueError, match=r"the train set holds 0 with a label. Choose a larger set"):
        draw_probe(few, part, 60, 0)
