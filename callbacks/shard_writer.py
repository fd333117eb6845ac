# SPDX-License-Identifier: Apache-2.0
"""Write the embeddings of `monocon predict` to a folder of shards, and resume where a killed run stopped."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_monocon.data.remaining import remaining
from lightning_monocon.functional.checks import check_choice
from lightning_monocon.inference.batch_stamp import stamp_rows
from lightning_monocon.inference.embed import GALLERY_AND_QUERY, untouched
from lightning_monocon.inference.rank_rows import Share, loaders_of, shares
from lightning_monocon.inference.shards import Ids, Kind, Rows, ShardFolder, Space, model_stamp
from lightning_monocon.runs.arguments import module_arguments
from lightning_monocon.runs.settings import precision_settings, writer

Loader = DataLoader[Any]

_NO_BATCHES = "Total length of `.*` across ranks is zero"


class ShardWriter(BasePredictionWriter):
    """Write the embeddings of each loader to shards, with one writer for each rank; `inference.shards` reads them.

    Two loaders are the parts ``gallery`` and ``query``, one is ``rows``, others ``rows0``, ``rows1``, and so on. A row
    keeps its id: ``dataset.ids[i]`` if the data set has ``ids``, its position ``i`` otherwise. With a data module, rows
    that an earlier, killed run has written are not embedded again; loaders that are given to the trainer directly are
    embedded again, and rows that exist are skipped. Set ``return_predictions=False`` in the trainer's call, or it keeps
    every embedding in memory.

    Args:
        out: The folder.
        rows: Rows in a shard.
        kind: ``"safetensors"`` or ``"parquet"`` (needs pyarrow).

    Raises:
        ValueError: If a number is not positive, no folder is named, it holds shards of another model, or a loader
            shuffles.
    """

    def __init__(self, out: str, rows: int = 65_536, kind: Kind = "safetensors") -> None:
        super().__init__(write_interval="batch")
        if rows < 1:
            raise ValueError(f"`rows` must be at least 1, got {rows}. Try 65536.")
        if not out:
            raise ValueError("`out` must be the name of a folder, got ''. Try 'embeddings'.")
        check_choice("kind", kind, get_args(Kind))
        self.out, self.rows, self.kind = Path(out), rows, kind
        self._folder: ShardFolder | None = None
        self._parts: list[str] = []
        self._pending: dict[str, list[Rows]] = {}
        self._known: dict[str, int] = {}
        self._shares: list[Share] = []
        self._quiet = ExitStack()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let the data module leave out rows that are written already."""
        data = getattr(trainer, "datamodule", None)
        if stage == "predict" and data is not None:
            original: Callable[[], Loader | list[Loader]] = data.predict_dataloader

            def shortened() -> Loader | list[Loader]:
                loaders = original()
                return self._remaining(self._claim(trainer, pl_module, loaders), loaders)

            data.predict_dataloader = shortened

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Restore the data module and release the folder."""
        data = getattr(trainer, "datamodule", None)
        if data is not None:
            vars(data).pop("predict_dataloader", None)
        self._close(done=False)
        self._quiet.close()

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Claim the folder, unless the loaders of the data module have, and find rows that other ranks have too."""
        self._shares = shares(loaders_of(trainer.predict_dataloaders))
        if self._folder is None:
            loaders: Any = trainer.predict_dataloaders
            folder = self._claim(trainer, pl_module, loaders)
            self._known = {part: folder.finished(part) for part in self._parts}

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: object,
        batch_indices: Sequence[int] | None,
        batch: object,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Add the rows of a batch, and write the shards that are full."""
        part = self._parts[dataloader_idx]
        loaders: Any = trainer.predict_dataloaders
        loader = loaders[dataloader_idx] if isinstance(loaders, list | tuple) else loaders
        rows = _rows(prediction, _ids(loader.dataset, batch_indices))
        fresh = self._shares[dataloader_idx].fresh(batch_idx, len(rows.ids))
        if fresh is not None:
            rows = _taken(rows, fresh.numpy())
        known = min(self._known.get(part, 0), len(rows.ids))  # written by an earlier run
        self._known[part] = self._known.get(part, 0) - known
        self._pending[part].append(_slice(rows, known, None))
        self._flush(part, self.rows)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the remaining rows, and record that this rank is done."""
        for part in self._parts:
            self._flush(part, 1)
        self._close(done=True)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Keep the finished shards: Lightning calls no other hook after a failure."""
        self._close(done=False)
        self._quiet.close()

    def _claim(self, trainer: Trainer, module: LightningModule, loaders: Loader | Sequence[Loader]) -> ShardFolder:
        count = len(loaders) if isinstance(loaders, list | tuple) else 1
        self._parts = {1: ["rows"], GALLERY_AND_QUERY: ["gallery", "query"]}.get(
            count, [f"rows{i}" for i in range(count)]
        )
        self._pending = {part: [] for part in self._parts}

        space = Space(
            model_stamp(module),
            trainer.world_size,
            self.kind,
            self.rows,
            settings={**writer(), **precision_settings(trainer), **module_arguments(module, "model")},
            data=self._stamps(trainer, module, loaders),
        )
        self._folder = ShardFolder(self.out, space, trainer.global_rank)
        return self._folder

    def _stamps(self, trainer: Trainer, module: LightningModule, loaders: Loader | Sequence[Loader]) -> dict[str, str]:
        """Return a digest of the rows of each part, as the model gets them."""
        each: list[Loader] = list(loaders) if isinstance(loaders, list | tuple) else [loaders]  # type: ignore[list-item]
        found = {}
        with untouched(module):
            for i, (part, loader) in enumerate(zip(self._parts, each, strict=True)):
                found[part] = stamp_rows(loader, partial(_transferred, trainer, module, i))
        return found

    def _remaining(self, folder: ShardFolder, loaders: Loader | list[Loader]) -> Loader | list[Loader]:
        many = isinstance(loaders, list | tuple)
        each: list[Loader] = list(loaders) if many else [loaders]  # type: ignore[list-item]
        kept = [remaining(loader, folder.finished(part)) for part, loader in zip(self._parts, each, strict=True)]
        if not sum(map(len, kept)):  # the trainer then skips its loop, and calls no further hook
            self._close(done=True)
            self._quiet.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", _NO_BATCHES)  # one sentence says it
            rows = sum(map(folder.finished, self._parts))
            rank_zero_info(f"{self.out} holds all {rows:,} rows already; nothing was embedded.")
        return kept if many else kept[0]

    def _flush(self, part: str, least: int) -> None:
        """Write shards while at least ``least`` rows wait."""
        waiting = sum(len(rows.ids) for rows in self._pending[part])
        if waiting < least:
            return
        rows = _joined(self._pending[part])
        assert self._folder is not None
        for start in range(0, waiting - least + 1, self.rows):
            self._folder.append(part, _slice(rows, start, start + self.rows))
        left = waiting % self.rows if least > 1 else 0
        self._pending[part] = [_slice(rows, waiting - left, None)] if left else []

    def _close(self, done: bool) -> None:
        if self._folder is not None:
            self._folder.close(done)
            self._folder = None


def _transferred(trainer: Trainer, module: LightningModule, loader: int, batch: object) -> object:
    """Return a batch as the trainer gives it to the model: converted, moved, and passed through the hooks."""
    batch = trainer.precision_plugin.convert_input(batch)
    batch = module._on_before_batch_transfer(batch, dataloader_idx=loader)
    return trainer.strategy.batch_to_device(batch, dataloader_idx=loader)


def _rows(prediction: object, ids: Ids) -> Rows:
    if isinstance(prediction, Mapping):
        embeddings, labels = prediction.get("embeddings"), prediction.get("labels")
    else:
        embeddings, labels = prediction, None
    if not isinstance(embeddings, Tensor) or embeddings.ndim != 2 or len(embeddings) != len(ids):
        found = tuple(embeddings.shape) if isinstance(embeddings, Tensor) else type(embeddings).__name__
        raise ValueError(
            f"`predict_step` must return embeddings ({len(ids)}, D), alone or under the key 'embeddings'; got {found}."
        )
    plain: NDArray[np.float32] = embeddings.detach().float().cpu().numpy()
    return Rows(ids, plain, None if labels is None else labels.cpu().numpy().astype(np.int64))


def _ids(dataset: object, positions: Sequence[int] | None) -> Ids:
    if not positions:
        raise ValueError(
            "`predict_dataloader` must go over a data set with a length, in order, so that each row keeps its id; got "
            "one whose batches have no positions (an iterable data set, or a batch sampler of another kind)."
        )
    names = getattr(dataset, "ids", None)
    return np.asarray(positions if names is None else [names[i] for i in positions])


def _joined(pieces: Sequence[Rows]) -> Rows:
    labels = [piece.labels for piece in pieces if piece.labels is not None]
    return Rows(
        np.concatenate([piece.ids for piece in pieces]),
        np.concatenate([piece.embeddings for piece in pieces]),
        np.concatenate(labels) if len(labels) == len(pieces) else None,
    )


def _taken(rows: Rows, mask: NDArray[np.bool_]) -> Rows:
    labels = None if rows.labels is None else rows.labels[mask]
    return Rows(rows.ids[mask], rows.embeddings[mask], labels)


def _slice(rows: Rows, start: int, stop: int | None) -> Rows:
    labels = None if rows.labels is None else rows.labels[start:stop]
    return Rows(rows.ids[start:stop], rows.embeddings[start:stop], labels)
