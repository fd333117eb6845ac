# SPDX-License-Identifier: Apache-2.0
"""Embeddings of one model on a gallery and on queries: checked once, then carried from file to file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lightning_monocon.functional.checks import check_choice, check_labels
from lightning_monocon.runs.files import whole

FORMAT = "lightning-monocon/embeddings/1"
"""Layout and version of the file, kept in its metadata."""

NEIGHBOURS = 5
"""Neighbours that vote in the k-NN classifier; the gallery needs at least as many rows."""

Reading = Literal["pca", "prefix"]
"""How vectors are cut to k numbers: projected on the gallery's top-k principal components, or the first k as they are
(what a training with nested prefixes is for)."""

Rows: TypeAlias = "Tensor | np.ndarray[Any, Any]"
"""What the public functions take as embeddings or labels."""

_TENSORS = ("gallery", "gallery_labels", "query", "query_labels")


@dataclass(frozen=True, eq=False)
class EmbeddingSet:
    """A labelled gallery (train split) and labelled queries (test split), embedded by one model.

    Args:
        gallery: ``(N, D)`` floating-point embeddings, the rows that are searched and that fit every basis.
        gallery_labels: ``(N,)`` integers of at least two classes.
        query: ``(Q, D)`` floating-point embeddings, the rows that are judged.
        query_labels: ``(Q,)`` integers, at least one of them a label of the gallery.
        arm: name of the model in tables and figures.
        seed: seed of the training run.
        stage: what the embeddings are, for example ``"last"`` or ``"best"`` checkpoint.
        reading: how they are cut to fewer dimensions.

    Half precision becomes float32, and both sides become float64 if one of them is; everything is moved to the CPU.

    Raises:
        TypeError: for tensors of the wrong kind of numbers.
        ValueError: for shapes that do not fit, NaN or infinity, too few rows, a single class or an unknown reading.
    """

    gallery: Tensor
    gallery_labels: Tensor
    query: Tensor
    query_labels: Tensor
    arm: str = "embeddings"
    seed: int = 0
    stage: str = "last"
    reading: Reading = "pca"

    def __post_init__(self) -> None:
        for name in ("gallery", "query"):
            object.__setattr__(self, name, _rows(name, getattr(self, name)))
        if self.gallery.dtype != self.query.dtype:
            for name in ("gallery", "query"):
                object.__setattr__(self, name, getattr(self, name).double())
        for name in ("gallery", "query"):
            labels = _labels(f"{name}_labels", getattr(self, f"{name}_labels"), len(getattr(self, name)))
            object.__setattr__(self, f"{name}_labels", labels)
        _check_pair(self)

    @property
    def dim(self) -> int:
        """Width D of the vectors."""
        return self.gallery.shape[1]

    def save(self, path: str | Path) -> Path:
        """Write one ``.safetensors`` file; it appears whole or not at all."""
        path = Path(path)
        # copies: safetensors refuses tensors that share memory, as slices of one set do
        tensors = {name: getattr(self, name).clone().contiguous() for name in _TENSORS}
        names = ("arm", "seed", "stage", "reading")
        metadata = {"format": FORMAT, **{name: str(getattr(self, name)) for name in names}}
        with whole(path) as file:
            save_file(tensors, file, metadata=metadata)
        return path

    @classmethod
    def load(cls, path: str | Path) -> EmbeddingSet:
        """Read what :meth:`save` wrote.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is of another layout or damaged.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"`path` must name a file of embeddings; there is none at {path}.")
        try:
            with safe_open(path, framework="pt") as file:
                metadata: dict[str, str] = file.metadata() or {}
                names = set(file.keys())
                tensors = {name: file.get_tensor(name) for name in _TENSORS if name in names}
        except SafetensorError as error:
            raise ValueError(f"`path` must be a whole .safetensors file; {path} is not: {error}.") from error
        if missing := [name for name in _TENSORS if name not in tensors]:
            raise ValueError(
                f"`path` must hold the tensors {', '.join(_TENSORS)}; {path} lacks {', '.join(missing)} "
                f"and holds {', '.join(sorted(names)) or 'nothing'}."
            )
        return cls(**tensors, **_identity(path, metadata))


def _identity(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    """Arm, seed and stage from the metadata; a file written by others is named after itself."""
    layout = metadata.get("format", FORMAT)
    if layout.startswith(FORMAT.rsplit("/", 1)[0]) and layout != FORMAT:
        raise ValueError(f"`path` must have the layout {FORMAT!r}; {path} has {layout!r}: write it again.")
    ours = metadata if "format" in metadata and layout == FORMAT else {}  # others' "seed" may be a word
    return {
        "arm": ours.get("arm", path.stem),
        "seed": int(ours.get("seed", "0")),
        "stage": ours.get("stage", "last"),
        "reading": ours.get("reading", "pca"),
    }


def _rows(name: str, values: Rows) -> Tensor:
    rows = as_tensor(name, values)
    if not rows.is_floating_point():
        raise TypeError(f"`{name}` must hold floating-point numbers; got {rows.dtype}: convert it with `.float()`.")
    if rows.ndim != 2 or 0 in rows.shape:
        raise ValueError(f"`{name}` must be a non-empty (rows, dimensions) matrix; got shape {tuple(rows.shape)}.")
    rows = rows if rows.dtype in (torch.float32, torch.float64) else rows.float()
    broken = int((~torch.isfinite(rows)).any(1).sum())
    if broken:
        raise ValueError(f"`{name}` must be finite; {broken} of {len(rows)} rows hold NaN or infinity.")
    return rows


def _labels(name: str, values: Rows, rows: int) -> Tensor:
    labels = as_tensor(name, values)
    if labels.is_floating_point() and (missing := labels.isnan()).any():
        raise ValueError(
            f"`{name}` must have a label for every row; {int(missing.sum())} of {len(labels)} are NaN (row "
            f"{int(missing.nonzero()[0, 0])} is the first): drop those rows from embeddings and labels."
        )
    return check_labels(labels, rows, name)


def as_tensor(name: str, values: Rows) -> Tensor:
    """Return a tensor on the CPU, outside any graph.

    Raises:
        TypeError: if ``values`` are neither a tensor nor an array of numbers; ``name`` says which argument they were.
    """
    if isinstance(values, Tensor):
        return values.detach().cpu()
    if not isinstance(values, np.ndarray):
        raise TypeError(f"`{name}` must be a tensor or an array of numbers; got {type(values).__name__}.")
    array = native(name, values)
    if array.dtype.kind in "US":
        raise TypeError(f"`{name}` must be a tensor or an array of numbers; got array of {array.dtype}.")
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))  # a memory map may be read-only


def native(name: str, array: np.ndarray[Any, Any], where: str = "") -> np.ndarray[Any, Any]:
    """Return an array of numbers or strings as torch takes it: this machine's byte order, at most float64.

    Args:
        name: the argument, for messages.
        array: of any dtype. Long doubles are rounded to float64, bfloat16 becomes float32.
        where: the place in a file that it came from, for messages.

    Raises:
        TypeError: if it holds anything but numbers and strings.
    """
    if array.dtype.name == "bfloat16":  # of ml_dtypes, which JAX uses
        return array.astype(np.float32)
    if array.dtype.kind not in "fiubUS":
        raw = array.dtype.kind == "V" and array.dtype.names is None
        bare = ", raw bytes, which is how np.save writes bfloat16: save it as float32" if raw else ""
        raise TypeError(
            f"`{name}` must hold numbers, or strings as labels; {where or 'it'} is an array of {array.dtype}{bare}."
        )
    if array.dtype.char == "g":
        with np.errstate(over="ignore"):  # what float64 cannot hold is refused as infinite
            return array.astype(np.float64)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _check_pair(data: EmbeddingSet) -> None:
    check_choice("reading", data.reading, get_args(Reading))
    if data.query.shape[1] != data.dim:
        raise ValueError(
            f"`query` must have the gallery's {data.dim} dimensions; got {data.query.shape[1]}: "
            "embed both with one model."
        )
    if len(data.gallery) < NEIGHBOURS:
        raise ValueError(f"`gallery` must have at least {NEIGHBOURS} rows, the voters; got {len(data.gallery)}.")
    classes = set(data.gallery_labels.tolist())
    if len(classes) < 2:
        raise ValueError("`gallery_labels` must hold at least 2 classes, otherwise every neighbour is right; got 1.")
    if classes.isdisjoint(data.query_labels.tolist()):
        raise ValueError("`query_labels` must share a class with the gallery; none of its labels occurs there.")
