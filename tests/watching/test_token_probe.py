# SPDX-License-Identifier: Apache-2.0
"""A probe of pairs of sequence and position: drawn once, gathered from the logits, against one softmax over all."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from lightning_monocon.watching.token_probe import draw_token_probe, evaluate_tokens, is_sequential, token_logits

VOCABULARY, LENGTH = 11, 10


def loader(count: int, seed: int, **options: Any) -> DataLoader[Any]:
    tokens = torch.randint(VOCABULARY, (count, LENGTH), generator=torch.Generator().manual_seed(seed))
    return DataLoader(TensorDataset(tokens, tokens), **{"batch_size": 8, **options})


class Reader(L.LightningModule):
    """Logits by a table: the logit row of a position is that of its token, so nothing depends on the batch."""

    def __init__(self, vocabulary: int = VOCABULARY) -> None:
        super().__init__()
        self.table = nn.Embedding(VOCABULARY, vocabulary)
        self.calls: list[tuple[int, ...]] = []

    def forward(self, tokens: Tensor) -> Any:
        self.calls.append(tuple(tokens.shape))
        return self.table(tokens)


def test_credences_are_those_of_the_whole_softmax() -> None:
    torch.manual_seed(0)
    module, probe = Reader(), draw_token_probe(loader(40, 0), loader(40, 1), 64, 0)
    found = evaluate_tokens(module, probe)
    assert found.vocabulary == VOCABULARY
    assert probe.places is not None
    start = 0
    for tokens, (rows, positions, _) in zip(probe.batches, probe.places, strict=True):
        full = module.table(tokens).softmax(-1).detach()
        for row, position in zip(rows.tolist(), positions.tolist(), strict=True):
            right = int(tokens[row, position + 1])
            assert int(probe.labels[start]) == right
            assert float(found.credence[start]) == pytest.approx(float(full[row, position, right]), rel=1e-6)
            start += 1
    assert start == len(probe.names) == 64
    assert (probe.names.count("train"), probe.names.count("val")) == (32, 32)
    assert all(rows <= 8 for rows, _ in module.calls)  # never more than the loader's batch


def test_a_softmax_in_pieces_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    probe, module = draw_token_probe(loader(40, 0), loader(40, 1), 64, 0), Reader()
    whole = evaluate_tokens(module, probe).credence
    home = sys.modules["lightning_monocon.landscape.credence"]  # its function hides it
    monkeypatch.setattr(home, "PIECE", 2 * VOCABULARY)  # two rows at a time
    assert torch.equal(evaluate_tokens(module, probe).credence, whole)


def test_the_probe_is_fixed_by_its_seed_and_even_over_its_strata() -> None:
    one, again, other = (draw_token_probe(loader(40, 0), loader(40, 1), 64, seed, "position") for seed in (0, 0, 1))
    assert one.fingerprint == again.fingerprint != other.fingerprint
    assert {name: one.names.count(name) for name in set(one.names)} == dict.fromkeys(
        ["train/early", "train/late", "val/early", "val/late"], 16
    )


class Stream(IterableDataset[Any]):
    """Fresh sequences from a generator of its own, which a probe must not advance."""

    def __init__(self, *, ahead: bool = False) -> None:
        self.generator = torch.Generator().manual_seed(0)
        self.ahead: Iterator[int] | None = (number for number in range(9)) if ahead else None

    def __iter__(self) -> Iterator[Any]:
        while True:
            tokens = torch.randint(VOCABULARY, (LENGTH,), generator=self.generator)
            yield tokens, tokens


def test_a_stream_keeps_what_the_probe_reads() -> None:
    stream = Stream()
    reading = DataLoader(stream, batch_size=4)
    assert is_sequential(reading)
    probe = draw_token_probe(reading, loader(40, 1), 64, 0)
    first = next(iter(reading))[0]
    assert torch.equal(first, next(iter(DataLoader(Stream(), batch_size=4)))[0])
    assert torch.equal(probe.batches[0][:1], first[:1])


def test_a_stream_that_cannot_be_copied_is_named() -> None:
    with pytest.raises(ValueError, match=r"must be loaders whose data sets can be copied, .* Stream "):
        draw_token_probe(DataLoader(Stream(ahead=True), batch_size=4), loader(40, 1), 64, 0)


def _ragged(items: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Pad sequences of several lengths to the longest of their batch."""
    tokens = nn.utils.rnn.pad_sequence([item[0] for item in items], batch_first=True)
    return tokens, nn.utils.rnn.pad_sequence([item[1] for item in items], batch_first=True, padding_value=-100)


def test_sequences_of_several_lengths() -> None:
    rng = np.random.default_rng(0)
    parts = [torch.from_numpy(rng.integers(0, VOCABULARY, int(rng.integers(3, 9)))) for _ in range(40)]
    ragged = DataLoader([(part, part) for part in parts], batch_size=8, collate_fn=_ragged)  # type: ignore[arg-type]
    probe = draw_token_probe(ragged, ragged, 64, 0)
    assert len(evaluate_tokens(Reader(), probe).credence) == 64
    assert len({tuple(batch.shape) for batch in probe.batches}) > 1


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        (
            lambda z: z[:, 0],
            r"must return logits \(B, T, V\) for labels \(B, T\), .*; got a torch.float32 tensor of sha",
        ),
        (lambda z: {"loss": z}, r"must return logits .*; got dict with loss"),
        (lambda z: z[:, :2], r"with a row for each of the labels \(1, 10\); got shape \(1, 2, 11\)"),
    ],
    ids=["rows", "no-logits", "shape"],
)
def test_outputs_of_another_shape_are_named(output: Any, sentence: str) -> None:
    class Odd(Reader):
        def forward(self, tokens: Tensor) -> Any:
            return output(self.table(tokens))

    with pytest.raises(ValueError, match=sentence):
        evaluate_tokens(Odd(), draw_token_probe(loader(40, 0), loader(40, 1), 64, 0))


def test_labels_beyond_the_vocabulary_are_named() -> None:
    probe = draw_token_probe(loader(40, 0), loader(40, 1), 64, 0)
    with pytest.raises(ValueError, match=r"`labels` must lie in 0\.\.4, one class per column of `logits`"):
        evaluate_tokens(Reader(vocabulary=5), probe)


def test_too_few_pairs_and_one_class_are_named() -> None:
    with pytest.raises(ValueError, match=r"`probe` must take at least 6 pairs of sequence and position, .* got 4"):
        draw_token_probe(loader(40, 0), loader(40, 1), 4, 0)
    same = torch.zeros(8, LENGTH, dtype=torch.long)
    one = DataLoader(TensorDataset(same, same), batch_size=8)
    with pytest.raises(ValueError, match="`probe` must hold at least two classes; all of its 16 labels are 0"):
        draw_token_probe(one, one, 16, 0)


def test_a_column_of_labels_and_one_hot_rows_are_told_apart() -> None:
    rows = torch.zeros(4, 5)
    with pytest.raises(ValueError, match=r"one number per input by `labels.squeeze\(1\)`"):
        token_logits(rows, (4, 1))
    with pytest.raises(ValueError, match=r"class numbers by `labels.argmax\(1\)`"):
        token_logits(rows, (4, 5))
