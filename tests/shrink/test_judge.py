# SPDX-License-Identifier: Apache-2.0
"""A code is judged as a search in float64 over its decoded rows does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from lightning_monocon.codes import FittingRows
from lightning_monocon.codes.families.transform import fit_transform
from lightning_monocon.scorecard.truths import GradedTruth, LabelTruth
from lightning_monocon.shrink import Task, read_task
from lightning_monocon.shrink.judge import encoded, qualities, shortlists


def planted(folder: Path) -> Task:
    random = np.random.default_rng(0)
    rows = (random.normal(size=(900, 16)) * np.linspace(2, 0.1, 16) + 0.2).astype(np.float32)
    np.save(folder / "rows.npy", rows[:800])
    np.save(folder / "query.npy", rows[800:])
    return read_task([folder / "rows.npy"], folder / "query.npy")


def test_overlap_and_shortlists_are_those_of_a_brute_force_search(tmp_path: Path) -> None:
    task = planted(tmp_path)
    codec = fit_transform(FittingRows.of(task.gallery), 4)
    codes = encoded(codec, task.gallery)
    found, counts = qualities(task, codec, codes), shortlists(task, codec, codes, task.truth.nearest)  # type: ignore[attr-defined]

    rows, query = (x.double().numpy() for x in (task.gallery, task.query))
    cosines = (query / np.linalg.norm(query, axis=1)[:, None]) @ (rows / np.linalg.norm(rows, axis=1)[:, None]).T
    true = np.argsort(-cosines, axis=1)[:, :10]
    points = codec.decode(codes).double().numpy()
    scores = codec.space.queries(task.query).double().numpy() @ points.T
    order = np.argsort(-scores, axis=1)
    expected = [len(set(a) & set(b[:10])) / 10 for a, b in zip(true, order, strict=True)]
    np.testing.assert_allclose(found.numpy(), expected, atol=0.1)  # codes may tie at the tenth place
    assert abs(float(found.mean()) - np.mean(expected)) < 0.005
    worst = np.array([scores[i, true[i]].min() for i in range(len(true))])
    np.testing.assert_array_equal(counts.numpy(), (scores >= worst[:, None] - 1e-6).sum(1))
    assert torch.equal(qualities(task, None), torch.ones(100, dtype=torch.float64))


def test_some_queries_are_judged_alone_as_among_all(tmp_path: Path) -> None:
    task = planted(tmp_path)
    codec = fit_transform(FittingRows.of(task.gallery), 2)
    codes, some = encoded(codec, task.gallery), torch.tensor([7, 3, 90])
    labels = replace(task, truth=LabelTruth(torch.arange(800) % 3, torch.arange(100) % 3))
    for each in (task, labels):
        few = each.asking(some)
        assert few is not None and few.truth.units == 3
        assert torch.equal(qualities(few, codec, codes), qualities(each, codec, codes)[some])
    pairs = GradedTruth("pairs", torch.arange(9), torch.arange(9) + 1, torch.arange(9.0))
    assert replace(task, truth=pairs).asking(some) is None
