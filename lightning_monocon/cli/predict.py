# SPDX-License-Identifier: Apache-2.0
"""Choose what `monocon predict` writes: a folder of shards, or one small file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from jsonargparse import Namespace
from lightning.pytorch import Callback

from lightning_monocon.callbacks import EmbeddingWriter, ShardWriter
from lightning_monocon.cli.config import stop
from lightning_monocon.inference.shards import Shards
from lightning_monocon.runs.scratch import check_folder, check_no_codes
from lightning_monocon.scorecard.embeddings import EmbeddingSet

_ONE_FILE = ".safetensors"


def check_out(options: Namespace) -> None:
    """Check that ``--out`` can be written before anything is computed; exit with status 2 if it cannot."""
    path = Path(options.out)
    one_file = options.out.endswith(_ONE_FILE)
    if not options.out or (one_file and path.is_dir()):
        stop(f"`--out` must name a folder, or a file that ends in {_ONE_FILE}; got {options.out!r}")
    try:
        check_folder("--out", path.parent if one_file else path)
        if not one_file:
            check_no_codes("--out", path)
    except OSError as error:
        stop(str(error))


def embedding_writer(options: Namespace) -> Callback:
    """Return the callback that writes to ``--out``."""
    if options.out.endswith(_ONE_FILE):
        return EmbeddingWriter(options.out)
    return ShardWriter(options.out, options.shard_rows, options.shard_kind)


def written(callbacks: Iterable[Callback]) -> str:
    """Return the sentence that ends the command: the rows that the callbacks wrote, and where.

    Args:
        callbacks: Those of the trainer; a file or folder that one of them wrote is read.
    """
    found = []
    for callback in callbacks:
        if isinstance(callback, EmbeddingWriter):
            rows = EmbeddingSet.load(callback.path)
            found.append(_written(callback.path, {"gallery": rows.gallery.shape, "query": rows.query.shape}))
        elif isinstance(callback, ShardWriter):
            shards = Shards(callback.out)
            found.append(_written(callback.out, {part: shards.shape(part) for part in shards.parts}))
    return "\n".join(found)


def _written(path: Path, shapes: Mapping[str, Sequence[int]]) -> str:
    rows = ", ".join(f"{name} {count:,} x {width}" for name, (count, width) in shapes.items())
    return f"Written to {path}: {rows}."
