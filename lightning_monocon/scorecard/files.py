# SPDX-License-Identifier: Apache-2.0
"""Read embeddings from files that other programs wrote, for models that were never trained here.

One file holds everything, or two hold a split each, or four hold one array each:

* one ``.safetensors`` or ``.npz`` with ``gallery``, ``gallery_labels``, ``query`` and ``query_labels``, or the folder
  of shards that `monocon predict` writes;
* gallery and query, each a ``.safetensors``, ``.npz`` or ``.parquet`` with ``embeddings`` and ``labels``, or
  ``embedding`` and ``label`` (tensors, arrays, or columns: lists of numbers, and integers or strings);
* gallery, gallery labels, query, query labels, each a ``.npy``, a file with a single array, or one with the names
  above.

Where a file names its arrays or columns otherwise, say which: ``train.parquet:vector``. Labels may be strings; gallery
and query share one numbering of them. Other arrays in a file are never read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightning_monocon.inference.shards import Shards
from lightning_monocon.scorecard.arrays import KINDS, array_names, read_array
from lightning_monocon.scorecard.embeddings import EmbeddingSet, Rows, as_tensor

_PARTS = ("gallery", "gallery_labels", "query", "query_labels")
_EMBEDDINGS, _LABELS = ("embeddings", "embedding"), ("labels", "label")
"""What a file of one split calls its arrays or columns; the first that is there counts."""

GIVEN = "given"
"""Stage of embeddings from a file: whatever checkpoint their author chose."""


class _Source(NamedTuple):
    """A file as it was given."""

    path: Path
    name: str
    """The array that is meant; empty where none was named."""


def load_files(files: Sequence[str | Path], labels: EmbeddingSet | None = None) -> EmbeddingSet:
    """Read a labelled gallery and queries from one, two or four files.

    Args:
        files: paths, in the order gallery, (its labels,) query, (its labels). In groups of two and four a path may end
            in ``:NAME``, the array or column that holds the embeddings (of two) or that is meant (of four). One path
            may be a folder that `monocon predict` wrote.
        labels: a set of the same rows, whose labels are taken where the files hold embeddings alone.

    Returns:
        The embeddings, named after the first file.

    Raises:
        FileNotFoundError: if there is no such file.
        ModuleNotFoundError: for Parquet without pyarrow.
        ValueError: for an unknown layout, with what was found, and for a damaged file.
        TypeError: for arrays of the wrong kind.
    """
    sources = [_source(file) for file in files]
    if len(sources) == 1:
        found = _everything(sources[0], labels)
    elif len(sources) == 2:
        found = _two(sources, labels)
    elif len(sources) == 4:
        found = [_single(source, names) for source, names in zip(sources, 2 * (_EMBEDDINGS, _LABELS), strict=True)]
    else:
        raise ValueError(
            "`files` must be one file with everything, two (gallery, query), or four (gallery, gallery labels, query, "
            f"query labels); got {len(sources)}."
        )
    gallery, gallery_labels, query, query_labels = found
    numbers = numbered(gallery_labels, query_labels)
    rows = as_tensor("gallery", gallery), as_tensor("query", query)
    return EmbeddingSet(rows[0], numbers[0], rows[1], numbers[1], arm=sources[0].path.stem, stage=GIVEN)


def _source(file: str | Path) -> _Source:
    """Split off the name of an array; a file that is called so wins."""
    head, colon, name = str(file).rpartition(":")
    named = colon and Path(head).suffix in KINDS and not Path(file).exists()
    return _Source(Path(head), name) if named else _Source(Path(file), "")


def _everything(source: _Source, labels: EmbeddingSet | None) -> list[Rows]:
    if source.name:
        raise ValueError(
            f"`files` must be two or four where one names an array; got {source.path.name}:{source.name} alone: give "
            "gallery and query."
        )
    if source.path.is_dir():
        return _corpus(source.path, labels)
    if labels is not None and not any("label" in name for name in array_names(source.path)):
        return _with_labels_of(labels, *_pick(source.path, [("gallery",), ("query",)]))
    return _pick(source.path, [(name,) for name in _PARTS])


def _corpus(folder: Path, labels: EmbeddingSet | None) -> list[Rows]:
    """Read a folder of shards."""
    try:
        shards = Shards(folder)
        if shards.parts != ["gallery", "query"]:
            raise ValueError(f"it holds the parts {', '.join(shards.parts)}, and the scores need gallery and query")
        gallery, query = (shards.read(part) for part in ("gallery", "query"))
    except (
        ValueError,
        KeyError,
        TypeError,
        FileNotFoundError,
    ) as error:  # a foreign or cut index says so in its parser's words
        raise ValueError(
            f"`files` must be files, or a folder that `monocon predict` finished; {folder} is not: "
            f"{str(error).rstrip('.').replace('`path`', 'it')}."
        ) from error
    if gallery.labels is None or query.labels is None:
        if labels is None:
            raise ValueError(f"`files` must hold labels; {folder} was written of data that has none.")
        return _with_labels_of(labels, gallery.embeddings, query.embeddings)
    return [gallery.embeddings, gallery.labels, query.embeddings, query.labels]


def _two(sources: Sequence[_Source], labels: EmbeddingSet | None) -> list[Rows]:
    """Read gallery and query, each with its labels; without, where a baseline takes those of another set."""
    if labels is not None and not any(_has_labels(source) for source in sources):
        return _with_labels_of(labels, *(_single(source, _EMBEDDINGS) for source in sources))
    return [array for path, name in sources for array in _pick(path, ((name,) if name else _EMBEDDINGS, _LABELS))]


def _has_labels(source: _Source) -> bool:
    """Return whether labels come with the embeddings; a named array is meant alone."""
    return not source.name and not set(_LABELS).isdisjoint(array_names(source.path))


def _with_labels_of(labels: EmbeddingSet, gallery: Rows, query: Rows) -> list[Rows]:
    for name, found, expected in (("gallery", gallery, labels.gallery), ("query", query, labels.query)):
        if len(found) != len(expected):
            raise ValueError(
                f"`baseline` must hold the same rows in the same order; its {name} has {len(found)} rows, not "
                f"{len(expected)}."
            )
    if labels.gallery_labels is None or labels.query_labels is None:
        raise ValueError(
            "`baseline` must hold labels where the other embeddings have none; its files have none either."
        )
    return [gallery, labels.gallery_labels, query, labels.query_labels]


def _pick(path: Path, wanted: Sequence[Sequence[str]]) -> list[Rows]:
    """Read arrays, of each group of names the one that occurs first."""
    there = array_names(path)
    if missing := [" or ".join(names) for names in wanted if set(names).isdisjoint(there)]:
        remedy = ""
        if all("label" in names for names in missing):
            remedy = " Without labels, give known answers instead, such as --qrels."
        elif "query" in missing:
            remedy = " Give the queries in a second file, and without labels or other answers --truth neighbours."
        raise ValueError(
            f"`files` must hold {', '.join(' or '.join(names) for names in wanted)} here; {path} lacks "
            f"{', '.join(missing)} and holds {', '.join(sorted(filter(None, there))) or 'one array without a name'}."
            f"{remedy}"
        )
    found = [next(name for name in names if name in there) for names in wanted]
    if twice := [name for name in found if there.count(name) > 1]:
        raise ValueError(f"`files` must name each array once; {path} holds {there.count(twice[0])} called {twice[0]}.")
    return [read_array(path, name) for name in found]


def _single(source: _Source, names: Sequence[str]) -> Rows:
    """Read the array that was named, the only one, or the one with a usual name."""
    path, name = source
    if name:
        return _pick(path, [(name,)])[0]
    there = array_names(path)
    if len(there) == 1:
        return read_array(path, there[0])
    if set(names).isdisjoint(there):
        raise ValueError(
            f"`files` must hold one array each when there are four, or name it {' or '.join(names)}; {path} holds "
            f"{', '.join(there) or 'none'}: write which, such as {path.name}:{next(iter(there), 'NAME')}."
        )
    return _pick(path, [names])[0]


def numbered(gallery: Rows, query: Rows) -> tuple[Tensor, Tensor]:
    """Return labels as numbers; strings are numbered in alphabetical order over both splits."""
    if not (_are_words(gallery) or _are_words(query)):
        return as_tensor("gallery_labels", gallery), as_tensor("query_labels", query)
    arrays = [np.asarray(labels) for labels in (gallery, query) if _are_words(labels)]
    if len(arrays) < 2:
        kinds = [f"{labels.dtype}" for labels in (gallery, query)]
        raise TypeError(
            f"`files` must hold labels of one kind, integers or strings, in both splits; got {kinds[0]} in the gallery "
            f"and {kinds[1]} in the query."
        )
    for name, array in zip(("gallery_labels", "query_labels"), arrays, strict=True):
        if array.ndim != 1:
            raise ValueError(f"`{name}` must hold one label per embedding; got shape {array.shape}.")
    _, numbers = np.unique(np.concatenate(arrays), return_inverse=True)
    cut = len(arrays[0])
    return torch.from_numpy(numbers[:cut]), torch.from_numpy(numbers[cut:])


def _are_words(labels: Rows) -> bool:
    return isinstance(labels, np.ndarray) and labels.dtype.kind in "US"
