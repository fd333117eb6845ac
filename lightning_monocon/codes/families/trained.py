# SPDX-License-Identifier: Apache-2.0
"""Fit the classical codes of faiss, from the extra ``search``; afterwards a codec needs faiss no more.

All centre the rows and give a byte to each of ``size`` centroids of 256:

- PQ cuts the numbers of a row into equal groups (Jegou, Douze and Schmid 2011).
- OPQ learns a rotation that suits the groups, which becomes the space's matrix (Ge, He, Ke and Sun 2013).
- The residual quantiser sums centroids of all numbers, each fitted on what those before it leave (Chen et al. 2010).
- LSQ sums centroids that are fitted together (Martinez et al. 2016, 2018).

faiss fits on one thread, so that the order of its sums, and with it the code, does not depend on the machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lightning_monocon.codes.additive import AdditiveQuantiser
from lightning_monocon.codes.codec import Codec
from lightning_monocon.codes.fitting import FittingRows, check_size, check_varying
from lightning_monocon.codes.product import CENTROIDS, ProductQuantiser
from lightning_monocon.codes.quantiser import Quantiser
from lightning_monocon.codes.space import Scoring, Space

_BEAM = 8
_BITS = 8
_ROTATED_ROWS = 16_384  # that a rotation is learnt from; each takes as long as sixty encodings
_SUMMED_ROWS = 16_384  # that an additive quantiser is trained on: faiss holds each once per candidate of its beam


class _Additive(Protocol):
    """Describe the additive quantisers of faiss, which has no types."""

    codebooks: object

    def train(self, rows: np.ndarray) -> None: ...


class _Clustering(Protocol):
    """Describe the options of k-means in faiss."""

    seed: int
    min_points_per_centroid: int


def fit_pq(rows: FittingRows, size: int, scoring: Scoring = "whole") -> Codec:
    """Fit a product quantiser of ``size`` bytes.

    Args:
        rows: What to fit on.
        size: Bytes of a code, a divisor of the numbers of a row.
        scoring: What a score estimates.

    Raises:
        ImportError: If faiss is not installed.
        ValueError: If ``size`` does not divide the numbers of a row, all rows are equal, or there are fewer than 256.
    """
    check_size(size)
    _check(rows, size)
    return _product("pq", rows, size, torch.eye(rows.dim), scoring)


def fit_opq(rows: FittingRows, size: int, scoring: Scoring = "whole") -> Codec:
    """Fit a product quantiser of ``size`` bytes after a rotation that is learnt with it.

    It takes the arguments of `fit_pq` and raises what that raises.
    """
    check_size(size)
    _check(rows, size)
    faiss = _faiss()
    opq = faiss.OPQMatrix(rows.dim, size)
    opq.pq = faiss.ProductQuantizer(rows.dim, size, _BITS)
    opq.max_train_points = _ROTATED_ROWS
    _seed(opq.pq.cp, rows.seed)  # the first rotation is drawn from a constant of faiss
    with _one_thread(faiss):
        opq.train(_centred(rows))
    learnt = torch.from_numpy(faiss.vector_to_array(opq.A).reshape(rows.dim, rows.dim)).double()
    left, _, right = torch.linalg.svd(learnt)  # the nearest orthogonal matrix: faiss' is one up to float32
    return _product("opq", rows, size, (left @ right).float(), scoring)


def fit_residual(rows: FittingRows, size: int, scoring: Scoring = "whole") -> Codec:
    """Fit a residual quantiser of ``size`` bytes; codes are searched with a beam of 8.

    Args:
        rows: What to fit on.
        size: Bytes of a code.
        scoring: What a score estimates.

    Raises:
        ImportError: If faiss is not installed.
        ValueError: If ``size`` is below 1, all rows are equal, or there are fewer than 256.
    """
    check_size(size)
    _check(rows)
    faiss = _faiss()
    trained = faiss.ResidualQuantizer(rows.dim, size, _BITS)
    trained.max_beam_size = _BEAM
    _seed(trained.cp, rows.seed)
    tables = _codebooks(faiss, trained, rows)
    return _summed("residual", rows, ProductQuantiser(torch.ones(rows.dim), [tables], [tables.clone()], _BEAM), scoring)


def fit_lsq(rows: FittingRows, size: int, scoring: Scoring = "whole") -> Codec:
    """Fit LSQ, a sum of ``size`` centroids that are fitted together; minutes, where `fit_residual` takes seconds.

    faiss searches every row eight times in each of 25 rounds, so `monocon shrink` does not try these codes.

    It takes the arguments of `fit_residual` and raises what that raises.
    """
    check_size(size)
    _check(rows)
    faiss = _faiss()
    trained = faiss.LocalSearchQuantizer(rows.dim, size, _BITS)
    trained.random_seed = rows.seed
    trained.nperts = min(trained.nperts, size)
    return _summed("lsq", rows, AdditiveQuantiser(_codebooks(faiss, trained, rows), _BEAM), scoring)


def _product(family: str, rows: FittingRows, size: int, matrix: Tensor, scoring: Scoring) -> Codec:
    faiss = _faiss()
    space = Space(rows.statistics.mean.float(), matrix, rows.similarity, scoring)
    pq = faiss.ProductQuantizer(rows.dim, size, _BITS)
    _seed(pq.cp, rows.seed)
    with _one_thread(faiss):
        pq.train((rows.sample.double() @ matrix.double().T - space.offset).float().numpy())
    found = faiss.vector_to_array(pq.centroids).reshape(size, 1, CENTROIDS, rows.dim // size)
    tables = [torch.from_numpy(table) for table in found]
    points = [table.clone() for table in tables]  # a file holds no table twice
    return Codec(f"{family}-{size}", family, space, ProductQuantiser(torch.ones(rows.dim), tables, points))


def _summed(family: str, rows: FittingRows, quantiser: Quantiser, scoring: Scoring) -> Codec:
    space = Space(rows.statistics.mean.float(), torch.eye(rows.dim), rows.similarity, scoring)
    return Codec(f"{family}-{quantiser.bytes}", family, space, quantiser)


def _codebooks(faiss: ModuleType, trained: _Additive, rows: FittingRows) -> Tensor:
    """Train an additive quantiser of faiss, and return its centroids ``(stages, 256, D)``."""
    with _one_thread(faiss):
        trained.train(_centred(rows, _SUMMED_ROWS))
    return torch.from_numpy(faiss.vector_to_array(trained.codebooks).reshape(-1, CENTROIDS, rows.dim))


def _centred(rows: FittingRows, most: int | None = None) -> np.ndarray:
    """Return the sample about the mean; evenly spaced rows of it if it has more than so many.

    There are at least as many as a row has numbers, if need be each of them more than once: the rotation and the
    principal components of faiss 1.15 take no fewer.
    """
    sample = rows.sample
    if most is not None and len(sample) > most:
        sample = sample[torch.linspace(0, len(sample) - 1, most).long()]
    centred = (sample.double() - rows.statistics.mean).float().numpy()
    return np.tile(centred, (-(-rows.dim // len(sample)), 1))


def _seed(clustering: _Clustering, seed: int) -> None:
    clustering.seed = seed
    clustering.min_points_per_centroid = 1  # faiss would print a warning; how many rows there are is checked here


def _check(rows: FittingRows, size: int = 1) -> None:
    check_varying(rows)
    if rows.dim % size:
        raise ValueError(f"`size` must divide the {rows.dim} numbers of a row into equal groups; got {size}.")
    if len(rows.sample) < CENTROIDS:
        raise ValueError(
            f"`rows` must hold {CENTROIDS} rows at least, one for each centroid; got {len(rows.sample)}. Add rows."
        )


def _faiss() -> ModuleType:
    try:
        import faiss
    except ImportError as error:
        raise ImportError(
            "faiss is needed to fit PQ, OPQ, residual and LSQ codes; pip install 'lightning-monocon[search]'. Fitted "
            "codecs work without it."
        ) from error
    module: ModuleType = faiss
    return module


@contextmanager
def _one_thread(faiss: ModuleType) -> Iterator[None]:
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)
