# SPDX-License-Identifier: Apache-2.0
"""Judge a code: float queries against decoded rows, by the answers that a scorecard knows."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from lightning_monocon.codes import Codec
from lightning_monocon.scorecard.row_files.source import BLOCK
from lightning_monocon.scorecard.truths import Found, GradedTruth, NeighbourTruth
from lightning_monocon.shrink.rows import Rows, blocks
from lightning_monocon.shrink.task import Task


def encoded(codec: Codec, rows: Rows) -> Tensor:
    """Return the codes ``(N, bytes)`` of rows ``(N, D)``, block by block."""
    return torch.cat([codec.encode(block) for block in blocks(rows)])


def qualities(task: Task, codec: Codec | None, codes: Tensor | None = None) -> Tensor:
    """Return the first measure of the task's truth for each unit, ``(U,)`` float64.

    Args:
        task: Rows, queries and answers.
        codec: The code; None for whole vectors.
        codes: ``(N, bytes)`` codes of the gallery.
    """
    truth = task.truth
    query = task.query if codec is None else codec.space.queries(task.query)
    if isinstance(truth, GradedTruth):
        # the pairs are of queries, one of which is stored as a code
        other = query if codec is None else codec.decode(encoded(codec, task.query))
        pairs = torch.arange(len(truth.left))
        rows = torch.cat([query[truth.left], other[truth.right]])
        moved = GradedTruth(truth.name, pairs, pairs + len(pairs), truth.scores)
        return moved.judge(Found(rows[:0], rows))[truth.measures[0]]
    if isinstance(truth, NeighbourTruth):
        if codec is None:  # these neighbours are those of whole vectors
            return torch.ones(truth.units, dtype=torch.float64)
        depth = truth.nearest.shape[1]  # the first measure needs no more
    else:
        depth = truth.depth(len(task.gallery))
    nearest = task.nearest(_decoded(task, codec, codes), query, depth).indices
    return truth.judge(Found(query[:0], query, nearest=nearest))[truth.measures[0]]


def shortlists(task: Task, codec: Codec, codes: Tensor, nearest: Tensor) -> Tensor:
    """Return for each query how many rows a search over codes must return to hold all its true neighbours, ``(Q,)``.

    Rows that score as much as the last true neighbour count, as they may come before it.

    Args:
        task: Rows and queries.
        codec: The code.
        codes: ``(N, bytes)`` codes of the gallery.
        nearest: ``(Q, k)`` true neighbours.
    """
    query = codec.space.queries(task.query)
    worst = torch.full((len(query),), torch.inf)
    for column in nearest.T:
        worst = torch.minimum(worst, (query * codec.decode(codes[column])).sum(1))
    slack = 1e-6  # of one product that is summed in two orders
    count = torch.zeros(len(query), dtype=torch.int64)
    for block in _decoded(task, codec, codes):
        count += (query @ block.T >= worst[:, None] - slack).sum(1)
    return count


def _decoded(task: Task, codec: Codec | None, codes: Tensor | None) -> Iterator[Tensor]:
    if codec is None or codes is None:
        yield from blocks(task.gallery)
        return
    for block in torch.split(codes, BLOCK):
        yield codec.decode(block)
