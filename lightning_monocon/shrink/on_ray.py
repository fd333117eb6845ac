# SPDX-License-Identifier: Apache-2.0
"""Map the files of a gallery on a Ray cluster: one task a file, results in the order of the rows.

A task that is lost with its worker is run again by Ray. It reads the file again, so its result is the same.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightning_monocon.scorecard.row_files.folder import FileRows
from lightning_monocon.shrink.engine import Function, in_process
from lightning_monocon.shrink.rows import Rows, StoredRows

if TYPE_CHECKING:
    from ray import ObjectRef
    from ray.data.block import DataBatch


class _Work(NamedTuple):
    """Hold what tasks share."""

    files: Sequence[StoredRows]
    starts: Sequence[int]
    function: Function


def on_ray(rows: Rows, function: Function) -> Iterator[Tensor]:
    """Map blocks of rows in files on the Ray cluster that runs, or else on this machine's cores.

    Rows in memory are mapped in this process. Every machine must see the files under the same paths, and have this
    package.

    Raises:
        ModuleNotFoundError: Without Ray.
        ValueError: If the rows are not in Parquet or safetensors files.
    """
    if isinstance(rows, Tensor):
        yield from in_process(rows, function)
        return
    import ray

    files = _files(rows)
    if not ray.is_initialized():
        ray.init(logging_level=logging.WARNING, log_to_driver=False)
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    starts = [0, *accumulate(map(len, files))]
    work = ray.put(_Work(files, starts, function))
    numbers = ray.data.from_items([*range(len(files))], override_num_blocks=len(files))
    mapped = numbers.map_batches(partial(_mapped, work=work), batch_size=1)
    for batch in mapped.iter_batches(batch_size=None):
        yield torch.from_numpy(batch["rows"].copy())  # Ray's memory may not be written to


def check_ray() -> None:
    """Raise ModuleNotFoundError, with the remedy, unless Ray is installed."""
    try:
        import ray.data  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"`--engine ray` needs Ray, and {error.name} is missing: install lightning-monocon[ray]."
        ) from error


def _files(rows: StoredRows) -> list[StoredRows]:
    """Return each file as rows of its own."""
    if not isinstance(rows.source, FileRows):
        raise ValueError(
            "`--engine ray` must be given .parquet or .safetensors files as VECTORS, one of which is a task; got "
            f"{type(rows.source).__name__}. Write the vectors as such files, or leave --engine out."
        )
    files = rows.source.files()
    if rows.kept is None:
        return [StoredRows(file) for file in files]
    kept = torch.split(rows.kept, [file.length for file in files])
    return [StoredRows(file, mask.clone()) for file, mask in zip(files, kept, strict=True)]


def _mapped(batch: DataBatch, work: ObjectRef[_Work]) -> Iterator[dict[str, np.ndarray]]:
    """Map the files whose numbers ``(n,)`` are in ``batch["item"]``; what Ray runs elsewhere."""
    import ray

    files, starts, function = ray.get(work)
    for number in batch["item"]:
        start = starts[number]
        for block in files[number].blocks():
            yield {"rows": function(block, start).numpy()}
            start += len(block)
