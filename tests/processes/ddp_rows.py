# SPDX-License-Identifier: Apache-2.0
"""Watch rows on one of three gloo ranks and write each way's figures; run by tests/callbacks/test_ddp_rows.py."""

import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    Sampler,
    TensorDataset,
)

from lightning_monocon import MonoCon
from lightning_monocon.callbacks import (
    CollapseGuard,
    EmbeddingMetrics,
    RunReport,
    SemanticLandscape,
    SentenceSimilarity,
    ShardWriter,
)
from lightning_monocon.functional import Relevance
from lightning_monocon.inference.embed import embed
from lightning_monocon.inference.shards import Shards

RANKS, GALLERY, QUERY, WIDTH = 3, 22, 10, 6


def data(size: int, seed: int) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (size,), generator=generator)
    return TensorDataset(torch.randn(size, WIDTH, generator=generator) + 2 * torch.eye(WIDTH)[labels], labels)


class Blocks(Dataset[Any]):
    """Whole batches of three, which the loader passes on as they are."""

    def __init__(self, source: TensorDataset) -> None:
        self.source = source

    def __len__(self) -> int:
        return -(-len(self.source) // 3)

    def __getitem__(self, index: int) -> Any:
        return self.source[3 * index : 3 * index + 3]


class Stream(IterableDataset[Any]):
    """Rows one after the other; each rank reads its own share, or all of it."""

    def __init__(self, source: TensorDataset, apart: bool) -> None:
        self.source, self.apart = source, apart

    def __iter__(self) -> Iterator[Any]:
        start, step = (dist.get_rank(), RANKS) if self.apart and dist.is_initialized() else (0, 1)
        return iter([self.source[index] for index in range(start, len(self.source), step)])


class EveryThird(Sampler[int]):
    """A share per rank that is no `DistributedSampler`, with tensors as indices; one of them reads row 0 too."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __iter__(self) -> Iterator[Any]:
        if not dist.is_initialized():
            return iter(torch.arange(self.size))
        share = torch.arange(self.size)[dist.get_rank() :: RANKS]
        return iter(torch.cat([share, torch.zeros(1).long()]) if dist.get_rank() == 1 else share)


def plain(source: TensorDataset) -> DataLoader[Any]:
    return DataLoader(source, batch_size=4)


def shuffled(source: TensorDataset) -> DataLoader[Any]:
    return DataLoader(source, batch_size=4, shuffle=True)


def own(source: TensorDataset) -> DataLoader[Any]:
    if not dist.is_initialized():
        return plain(source)
    return DataLoader(source, batch_size=4, sampler=DistributedSampler(source, seed=5))


def batches(source: TensorDataset) -> DataLoader[Any]:
    return DataLoader(source, batch_sampler=BatchSampler(range(len(source)), 4, drop_last=False))


def blocks(source: TensorDataset) -> DataLoader[Any]:
    return DataLoader(Blocks(source), batch_size=None)


def foreign(source: TensorDataset) -> DataLoader[Any]:
    return DataLoader(source, batch_size=4, sampler=EveryThird(len(source)))


def apart(source: TensorDataset) -> DataLoader[Any]:
    return DataLoader(Stream(source, apart=True), batch_size=4)


def together(source: TensorDataset) -> DataLoader[Any]:
    return DataLoader(Stream(source, apart=False), batch_size=4)


Make = Callable[[TensorDataset], DataLoader[Any]]
WAYS: dict[str, tuple[Make, bool]] = {  # how a loader is made, and whether the trainer gives it a sampler
    "plain": (plain, True),
    "shuffled": (shuffled, True),
    "own sampler": (own, True),
    "whole batches": (blocks, True),
    "undivided": (plain, False),
    "own batches": (batches, False),
    "foreign sampler": (foreign, False),
    "stream apart": (apart, False),
}
ANSWERED = ("plain", "own sampler", "own batches", "foreign sampler", "stream apart")  # whose places are known
REFUSED: dict[str, tuple[Make, bool, str]] = {
    "undivided, shuffled": (shuffled, False, "got RandomSampler: it gives another order each time. Leave out"),
    "stream together": (together, False, "two ranks of 3 have read the same first batch"),
}


def model() -> MonoCon:
    """Return a model that learns nothing, so that ranks and one process judge the same weights."""
    torch.manual_seed(0)
    return MonoCon(nn.Linear(WIDTH, WIDTH), in_features=WIDTH, warmup_epochs=0, lr_encoder=0.0, lr_head=0.0)


def trainer(devices: int, *callbacks: L.Callback, **options: Any) -> L.Trainer:
    return L.Trainer(
        accelerator="cpu",
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        **options,
    )


def metrics(run: L.Trainer) -> dict[str, float]:
    return {name: value.item() for name, value in run.callback_metrics.items()}


def two_loaders(make: Make, divided: bool, devices: int, query: int = QUERY) -> dict[str, float]:
    run = trainer(devices, EmbeddingMetrics(on_error="raise"), use_distributed_sampler=divided)
    run.test(model(), [make(data(GALLERY, 1)), make(data(query, 2))], verbose=False)
    return metrics(run)


def stopped_on_one_rank() -> dict[str, float]:
    """Return what is logged where one rank's callbacks meet an error: the others must not wait for it."""

    class Stopping(MonoCon):
        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
            return None if dist.get_rank() == 1 else super().validation_step(batch, batch_idx)

    run = trainer(RANKS, EmbeddingMetrics(), CollapseGuard())
    stopping = Stopping(nn.Linear(WIDTH, WIDTH), in_features=WIDTH)
    run.validate(stopping, [plain(data(GALLERY, 1)), plain(data(QUERY, 2))], verbose=False)
    return metrics(run)


class Pairs(L.LightningDataModule):
    """Eleven scored pairs of vectors in an ordinary loader, or in one whose sampler repeats some."""

    def __init__(self, sampled: bool) -> None:
        super().__init__()
        self.sampled = sampled

    def similarity_dataloader(self, stage: str) -> DataLoader[Any]:
        source = TensorDataset(data(22, 6).tensors[0], torch.arange(22))
        sampler = DistributedSampler(source) if self.sampled else None
        return DataLoader(source, batch_size=4, sampler=sampler)

    def similarity_scores(self, stage: str) -> Any:
        return torch.rand(11, generator=torch.Generator().manual_seed(0)).double().numpy()

    def val_dataloader(self) -> DataLoader[Any]:
        return plain(data(QUERY, 2))


def paired(devices: int, sampled: bool) -> dict[str, float]:
    run = trainer(devices, SentenceSimilarity(on_error="raise"))
    run.validate(model(), Pairs(sampled), verbose=False)
    return metrics(run)


def answered(make: Make, divided: bool, devices: int) -> dict[str, float]:
    """Return the figures of graded answers, and of the overlap with the encoder."""
    pairs = torch.randperm(GALLERY * QUERY, generator=torch.Generator().manual_seed(7))[:60]
    relevance = Relevance(pairs // GALLERY, pairs % GALLERY, 1 + pairs % 3)
    watch = EmbeddingMetrics(on_error="raise", relevance=relevance, overlap=True)
    run = trainer(devices, watch, use_distributed_sampler=divided)
    run.test(model(), [make(data(GALLERY, 1)), make(data(QUERY, 2))], verbose=False)
    return {name: value for name, value in metrics(run).items() if "_at_" in name or name.endswith("first_kept")}


def one_loader(devices: int) -> dict[str, float]:
    watchers = (
        EmbeddingMetrics(on_error="raise", layer="encoder"),
        CollapseGuard(after_epoch=9, on_error="raise", layer="encoder"),
    )
    run = trainer(devices, *watchers)
    run.validate(model(), plain(data(40, 3)), verbose=False)
    return metrics(run)


def guarded(devices: int) -> dict[str, float]:
    run = trainer(devices, CollapseGuard(after_epoch=9, on_error="raise"))
    run.validate(model(), [plain(data(GALLERY, 1)), plain(data(QUERY, 2))], verbose=False)
    return metrics(run)


def reported(devices: int, folder: Path) -> str:
    """Return the scorecard at the end of a run."""
    run = trainer(devices, RunReport(str(folder), on_error="raise"), max_epochs=1)
    # row by row, for a product of matrices rounds by the size of the batch, and one dimension ties by rounding
    loaders = [DataLoader(data(GALLERY, 1)), DataLoader(data(QUERY, 2))]
    run.fit(model(), plain(data(24, 4)), loaders)
    return (folder / "scorecard.json").read_text() if run.is_global_zero else ""


def probed(devices: int, folder: Path) -> str:
    watch = SemanticLandscape(12, schedule=1, budget=None, on_error="raise")
    run = trainer(devices, watch, max_epochs=1, default_root_dir=folder)
    run.fit(model(), plain(data(25, 4)), plain(data(QUERY, 2)))
    return watch._probe.fingerprint if watch._probe is not None else ""


def fewer_rows_than_ranks() -> dict[str, list[int]]:
    """Return the labels that each rank has of two rows, one of the three ranks having none."""
    source = TensorDataset(torch.ones(2, WIDTH), torch.tensor([7, 8]))
    share = list(range(dist.get_rank(), 2, RANKS))
    rows = embed(model(), DataLoader(source, batch_size=1, sampler=share))
    return {"labels": rows["labels"].tolist()}


def failing_rank() -> str:
    class Failing(MonoCon):
        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
            if dist.get_rank() == 1:
                raise ArithmeticError("only here")
            return super().validation_step(batch, batch_idx)

    try:
        embed(Failing(nn.Linear(WIDTH, WIDTH), "none", in_features=WIDTH), plain(data(QUERY, 2)))
    except (ArithmeticError, RuntimeError) as error:
        return str(error)
    return ""


def predicted(way: str, folder: Path, devices: int) -> dict[str, list[Any]]:
    """Return ids and labels of the shards of three ranks."""
    make, divided = WAYS[way]
    run = trainer(devices, ShardWriter(str(folder), rows=4), use_distributed_sampler=divided)
    run.predict(model(), make(data(QUERY, 2)), return_predictions=False)
    if devices > 1:
        dist.barrier()
    rows = Shards(folder).read("rows")
    assert rows.labels is not None
    return {"ids": rows.ids.tolist(), "labels": rows.labels.tolist(), "sums": np.sum(rows.embeddings, 1).tolist()}


def refusal(make: Make, divided: bool) -> str:
    try:
        two_loaders(make, divided, RANKS)
    except ValueError as error:
        return str(error)
    return ""


def main(folder: Path) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    found: dict[str, Any] = {way: two_loaders(*how, RANKS) for way, how in WAYS.items()}
    found |= {way: refusal(make, divided) for way, (make, divided, _) in REFUSED.items()}
    found |= {"one loader": one_loader(RANKS), "guard": guarded(RANKS)}
    found |= {f"answered, {way}": answered(*WAYS[way], RANKS) for way in ANSWERED}
    found |= {"report": reported(RANKS, folder / "report"), "probe": probed(RANKS, folder / "probe")}
    found |= {f"pairs, sampled={sampled}": paired(RANKS, sampled) for sampled in (False, True)}
    found |= {"short": two_loaders(plain, True, RANKS, query=2), "stopped": stopped_on_one_rank()}
    found |= {"few": fewer_rows_than_ranks(), "failing": failing_rank()}
    found["predicted"] = {way: predicted(way, folder / way, RANKS) for way in ("plain", "own sampler", "undivided")}
    torch.save(found, folder / f"rank{dist.get_rank()}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
