# SPDX-License-Identifier: Apache-2.0
"""A corpus that is continued must be of one model, one precision, one data set and one way to prepare it."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lightning_monocon.callbacks import ShardWriter
from lightning_monocon.inference.shards import Shards


def predict(writer: ShardWriter, loader: DataLoader[Any], model: L.LightningModule, **options: Any) -> None:
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, callbacks=[writer], **options)
    trainer.predict(model, loader, return_predictions=False)


class Scaled(L.LightningModule):
    """Embeds what a hook and a part of it make of its inputs."""

    def __init__(self, before: float = 1.0, after: float = 0.5) -> None:
        super().__init__()
        self.before, self.part = before, torch.nn.LeakyReLU(after)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return [batch[0] * self.before]

    def predict_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        return self.part(batch[0])  # type: ignore[no-any-return]


class Transformed(Dataset[tuple[Tensor]]):
    """Twenty rows through a transform."""

    def __init__(self, transform: Callable[[Tensor], Tensor], ids: range = range(20)) -> None:
        self.transform, self.ids = transform, list(ids)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, i: int) -> tuple[Tensor]:
        return (self.transform(torch.full((4,), float(i))),)


@pytest.mark.parametrize(
    ("model", "data", "options", "named"),
    [
        (Scaled(), Transformed(torch.neg), {"precision": "bf16-mixed"}, r"settings\.precision '32-true', not 'bf16-m"),
        (
            Scaled(after=0.1),
            Transformed(torch.neg),
            {},
            r"settings\.model\.part 'LeakyReLU\(negative_slope=0\.5\)', not",
        ),
        (Scaled(before=2.0), Transformed(torch.neg), {}, r"data\.rows "),
        (Scaled(), Transformed(torch.exp), {}, r"data\.rows "),
        (Scaled(), Transformed(torch.neg, range(5, 25)), {}, r"data\.rows "),
        (Scaled(), Transformed(torch.neg, range(19)), {}, r"data\.rows "),
    ],
    ids=["precision", "argument", "batch transform", "transform", "other rows", "fewer rows"],
)
def test_what_decides_the_values_must_be_what_it_was(
    tmp_path: Path, model: Scaled, data: Transformed, options: dict[str, Any], named: str
) -> None:
    predict(ShardWriter(str(tmp_path)), DataLoader(Transformed(torch.neg), batch_size=8), Scaled())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=rf"has .*{named}.*Choose another folder\."):
        predict(ShardWriter(str(tmp_path)), DataLoader(data, batch_size=8), model, **options)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


class Centred(L.LightningModule):
    """Subtracts a mean that is no weight."""

    def __init__(self, mean: float, buffer: bool) -> None:
        super().__init__()
        self.part = torch.nn.Identity()
        if buffer:
            self.part.register_buffer("mean", torch.tensor(mean), persistent=False)
        else:
            self.part.mean = torch.tensor(mean)

    def predict_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        return batch[0] - self.part.mean


@pytest.mark.parametrize("buffer", [True, False], ids=["buffer", "attribute"])
def test_a_mean_that_is_no_weight_must_be_what_it_was(tmp_path: Path, buffer: bool) -> None:
    loader = DataLoader(Transformed(torch.neg), batch_size=8)
    for _ in range(2):
        predict(ShardWriter(str(tmp_path)), loader, Centred(0.5, buffer))
    with pytest.raises(ValueError, match=r"has settings\.model\.part\.mean 'tensor .*', not 'tensor .*'\. Choose"):
        predict(ShardWriter(str(tmp_path)), loader, Centred(0.1, buffer))


def test_a_corpus_of_an_earlier_version_is_compared_by_what_it_knows(tmp_path: Path) -> None:
    loader = DataLoader(Transformed(torch.neg), batch_size=8)
    predict(ShardWriter(str(tmp_path)), loader, Scaled())
    file = tmp_path / "space.json"
    space = json.loads(file.read_text())
    known = ("precision", "float32_matmul_precision", "model.part")
    space["settings"] = {name: space["settings"][name] for name in known}
    file.write_text(json.dumps(space))
    predict(ShardWriter(str(tmp_path)), loader, Scaled())
    with pytest.raises(ValueError, match=r"has settings\.model\.part 'LeakyReLU\(negative_slope=0\.5\)', not"):
        predict(ShardWriter(str(tmp_path)), loader, Scaled(after=0.1))


def test_a_corpus_of_another_release_may_lack_an_option(tmp_path: Path) -> None:
    loader = DataLoader(Transformed(torch.neg), batch_size=8)
    predict(ShardWriter(str(tmp_path)), loader, Scaled())
    file = tmp_path / "space.json"
    space = json.loads(file.read_text())
    del space["settings"]["precision"]
    file.write_text(json.dumps(space))
    with pytest.raises(ValueError, match=r"has settings\.precision None, not '32-true'"):
        predict(ShardWriter(str(tmp_path)), loader, Scaled())
    space["settings"]["package"] = "0.0.9"
    file.write_text(json.dumps(space))
    predict(ShardWriter(str(tmp_path)), loader, Scaled())


def test_batch_size_workers_and_random_transforms_may_differ(tmp_path: Path) -> None:
    def noisy(row: Tensor) -> Tensor:
        return row + torch.rand(4)

    data = Transformed(noisy)
    for loader in (DataLoader(data, batch_size=8), DataLoader(data, batch_size=5, num_workers=1)):
        predict(ShardWriter(str(tmp_path)), loader, Scaled())
    assert len(Shards(tmp_path)) == 20
