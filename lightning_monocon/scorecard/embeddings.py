# SPDX-License-Identifier: Apache-2.0
"""Embeddings of one model on a gallery and on queries: checked once, then carried from file to file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lightning_monocon.functional.checks import all_finite, check_choice, check_labels
from lightning_monocon.functional.truncation_curve import Ties, ties_of
from lightning_monocon.runs.files import whole
from lightning_monocon.runs.memory import give_back
from lightning_monocon.scorecard.truths.labels import NEIGHBOURS, LabelTruth
from lightning_monocon.scorecard.truths.order import equal_row_order
from lightning_monocon.scorecard.truths.stored import as_stored, from_stored
from lightning_monocon.scorecard.truths.truth import Truth

FORMAT = "lightning-monocon/embeddings/2"
"""Layout and version of the file, kept in its metadata."""

_READABLE = ("lightning-monocon/embeddings/1", FORMAT)
"""Layouts that are read; the first has labels, and neither sides nor other truths."""

Reading = Literal["pca", "prefix"]
"""How vectors are cut to k numbers: projected on the gallery's top-k principal components, or the first k as they are
(what a training with nested prefixes is for)."""

Rows: TypeAlias = "Tensor | np.ndarray[Any, Any]"
"""What the public functions take as embeddings or labels."""

_ROWS, _LABELS = ("gallery", "query"), ("gallery_labels", "query_labels")
_SIDE, _TRUTH = "side:", "truth:"
"""What the names of tensors in a file begin with: further rows, and what a truth knows."""


@dataclass(frozen=True, eq=False)
class EmbeddingSet:
    """A gallery that is searched (train split) and queries (test split), embedded by one model, with what is known.

    What is known is labels, truths of another kind, or both. A set with neither is judged by its neighbours
    (:class:`~lightning_monocon.scorecard.truths.NeighbourTruth`).

    Args:
        gallery: ``(N, D)`` floating-point embeddings, the rows that are searched and that fit every basis.
        gallery_labels: ``(N,)`` integers of at least two classes; None if there are no labels.
        query: ``(Q, D)`` floating-point embeddings, the rows that are judged.
        query_labels: ``(Q,)`` integers, at least one of them a label of the gallery; None if there are no labels.
        arm: name of the model in tables and figures.
        seed: seed of the training run.
        stage: what the embeddings are, for example ``"last"`` or ``"best"`` checkpoint.
        reading: how they are cut to fewer dimensions.
        truths: what is known besides labels.
        sides: further rows ``(R, D)`` by name, to which the pairs of a graded truth may refer.

    Half precision becomes float32, and all rows become float64 if some of them are; everything is moved to the CPU.

    Raises:
        TypeError: for tensors of the wrong kind of numbers.
        ValueError: for shapes that do not fit, NaN or infinity, too few rows, a single class, labels of one side only,
            sides called gallery or query, an unknown reading, or truths about other rows.

    Example:
        >>> from lightning_monocon.scorecard.truths import QrelsTruth
        >>> one = torch.arange(6)
        >>> qrels = QrelsTruth(query=one, row=one, grade=torch.ones_like(one), queries=6, rows=6)
        >>> EmbeddingSet(torch.eye(6), None, torch.eye(6), truths=(qrels,)).judges()[0].measures[0]
        'ndcg@10'
    """

    gallery: Tensor
    gallery_labels: Tensor | None
    query: Tensor
    query_labels: Tensor | None = None
    arm: str = "embeddings"
    seed: int = 0
    stage: str = "last"
    reading: Reading = "pca"
    truths: tuple[Truth, ...] = ()
    sides: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rows = {name: _rows(name, getattr(self, name)) for name in _ROWS}
        sides = {name: _rows(f"sides[{name!r}]", values) for name, values in self.sides.items()}
        if len({part.dtype for part in (*rows.values(), *sides.values())}) > 1:
            rows, sides = ({name: part.double() for name, part in group.items()} for group in (rows, sides))
        for name, part in (*rows.items(), ("sides", sides), ("truths", tuple(self.truths))):
            object.__setattr__(self, name, part)
        _check_rows(self)
        if (self.gallery_labels is None) != (self.query_labels is None):
            missing = next(name for name in _LABELS if getattr(self, name) is None)
            raise ValueError(f"`gallery_labels` and `query_labels` must be given together; {missing} is None.")
        if self.gallery_labels is not None:
            for name in _ROWS:
                labels = _labels(f"{name}_labels", getattr(self, f"{name}_labels"), len(getattr(self, name)))
                object.__setattr__(self, f"{name}_labels", labels)
            _check_classes(self)
        _check_truths(self)

    @property
    def dim(self) -> int:
        """Width D of the vectors."""
        return self.gallery.shape[1]

    @cached_property
    def ties(self) -> Ties:
        """How equally near rows are ordered: equal rows by label, or at random if there is none."""
        found = ties_of(self.gallery, equal_row_order(len(self.gallery), self.gallery_labels), self.query)
        give_back()  # the search that follows takes the most memory, and cannot use what hashing leaves in pieces
        return found

    def nearest(self, count: int) -> Tensor:
        """Return the nearest rows of the gallery by the cosine of whole vectors, ``(Q, count)``, nearest first."""
        return self.ties.nearest(self.gallery, self.query, count)

    def judges(self) -> tuple[Truth, ...]:
        """Return everything that is known: the labels if there are any, and the other truths."""
        if self.gallery_labels is None or self.query_labels is None:
            return self.truths
        return (LabelTruth(self.gallery_labels, self.query_labels), *self.truths)

    def save(self, path: str | Path) -> Path:
        """Write one ``.safetensors`` file; it appears whole or not at all."""
        path = Path(path)
        tensors = {name: part for name in (*_ROWS, *_LABELS) if (part := getattr(self, name)) is not None}
        tensors |= {f"{_SIDE}{name}": part for name, part in self.sides.items()}
        known, described = as_stored(self.truths)
        tensors |= {f"{_TRUTH}{name}": part for name, part in known.items()}
        names = ("arm", "seed", "stage", "reading")
        metadata = {"format": FORMAT, **{name: str(getattr(self, name)) for name in names}, "truths": described}
        with whole(path) as file:
            # copies: safetensors refuses tensors that share memory, as slices of one set do
            save_file({name: part.clone().contiguous() for name, part in tensors.items()}, file, metadata=metadata)
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
                kept = [name for name in names if name in (*_ROWS, *_LABELS) or name.startswith((_SIDE, _TRUTH))]
                tensors = {name: file.get_tensor(name) for name in kept}
        except SafetensorError as error:
            raise ValueError(f"`path` must be a whole .safetensors file; {path} is not: {error}.") from error
        identity = _identity(path, metadata)
        # Labels may be missing only where we wrote a set that has none.
        needed = _ROWS if metadata.get("format") == FORMAT else ("gallery", "gallery_labels", "query", "query_labels")
        if missing := [name for name in needed if name not in tensors]:
            raise ValueError(
                f"`path` must hold the tensors {', '.join(needed)}; {path} lacks {', '.join(missing)} "
                f"and holds {', '.join(sorted(names)) or 'nothing'}."
            )
        known = _named(tensors, _TRUTH)
        return cls(
            **{name: tensors.get(name) for name in (*_ROWS, *_LABELS)},  # type: ignore[arg-type]
            **identity,
            sides=_named(tensors, _SIDE),
            truths=from_stored(known, metadata.get("truths", "[]")) if metadata.get("format") == FORMAT else (),
        )


def _named(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): part for name, part in tensors.items() if name.startswith(prefix)}


def _identity(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    """Arm, seed and stage from the metadata; a file written by others is named after itself."""
    layout = metadata.get("format", FORMAT)
    if layout.startswith(FORMAT.rsplit("/", 1)[0]) and layout not in _READABLE:
        raise ValueError(f"`path` must have the layout {FORMAT!r}; {path} has {layout!r}: write it again.")
    ours = metadata if "format" in metadata and layout in _READABLE else {}  # others' "seed" may be a word
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
    if not all_finite(rows):
        broken = int((~torch.isfinite(rows)).any(1).sum())
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


def as_tensor(name: str, values: Rows, where: str = "") -> Tensor:
    """Return a tensor on the CPU, outside any graph.

    Raises:
        TypeError: if ``values`` are neither a tensor nor an array of numbers; ``name`` says which argument they were,
            and ``where`` from which place in a file they came.
    """
    if isinstance(values, Tensor):
        return values.detach().cpu()
    if not isinstance(values, np.ndarray):
        raise TypeError(f"`{name}` must be a tensor or an array of numbers; got {type(values).__name__}.")
    array = native(name, values)
    if array.dtype.kind in "US":
        place = f" in {where}: name the one that holds the vectors" if where else ""
        raise TypeError(f"`{name}` must be a tensor or an array of numbers; got array of {array.dtype}{place}.")
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
        bare = ", raw bytes, which is how np.save writes bfloat16" if raw else ""
        raise TypeError(
            f"`{name}` must hold numbers, or strings as labels; {where or 'it'} is an array of {array.dtype}{bare}: "
            "save numbers as float32."
        )
    if array.dtype.char == "g":
        with np.errstate(over="ignore"):  # what float64 cannot hold is refused as infinite
            return array.astype(np.float64)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _check_rows(data: EmbeddingSet) -> None:
    check_choice("reading", data.reading, get_args(Reading))
    if taken := [name for name in data.sides if name in _ROWS]:
        raise ValueError(
            f"`sides` must have other names than gallery and query, which are the rows of the set; got {taken[0]!r}: "
            "rename it, in the truth too."
        )
    for name, part in {"query": data.query, **{f"sides[{name!r}]": part for name, part in data.sides.items()}}.items():
        if part.shape[1] != data.dim:
            raise ValueError(
                f"`{name}` must have the gallery's {data.dim} dimensions; got {part.shape[1]}: "
                "embed both with one model."
            )
    if len(data.gallery) < NEIGHBOURS:
        raise ValueError(
            f"`gallery` must have at least {NEIGHBOURS} rows, for fewer show chance; got {len(data.gallery)}: add rows."
        )


def _check_classes(data: EmbeddingSet) -> None:
    known, asked = ({*getattr(data, name).tolist()} for name in _LABELS)
    if len(known) < 2:
        raise ValueError("`gallery_labels` must hold at least 2 classes, otherwise every neighbour is right; got 1.")
    if known.isdisjoint(asked):
        raise ValueError("`query_labels` must share a class with the gallery; none of its labels occurs there.")


def _check_truths(data: EmbeddingSet) -> None:
    rows = {"gallery": len(data.gallery), "query": len(data.query), **{n: len(part) for n, part in data.sides.items()}}
    names = [truth.name for truth in data.judges()]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(
            f"`truths` must have different names; {twice[0]} occurs {names.count(twice[0])} times: rename."
        )
    for truth in data.truths:
        for side, needed, exact in truth.needs():
            if side not in rows:
                raise ValueError(
                    f"`truths` must name rows of the set; {truth.name} names the side {side!r}, and there are "
                    f"{', '.join(rows)}."
                )
            if needed > rows[side] or (exact and needed != rows[side]):
                raise ValueError(
                    f"`truths` must be about the rows of the set; {truth.name} needs {'' if exact else 'at least '}"
                    f"{needed} rows in {side}, and there are {rows[side]}."
                )
