# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys

import pytest
import torch
from helpers.row_pieces import InMemory
from torch import Tensor

from lightning_monocon.functional.jackknife import grouped_moments
from lightning_monocon.functional.moments import MomentStream, merge_all, moments
from lightning_monocon.functional.quantisation import fit_quantiser
from lightning_monocon.functional.row_keys import direction_keys
from lightning_monocon.functional.spectrum import components_from_moments
from lightning_monocon.functional.truncation_curve import projected, tie_keys, ties_of, ties_of_keys, truncated
from lightning_monocon.scorecard.row_files import source as stream
from lightning_monocon.scorecard.row_files.passes import Search, largest_coordinates, nearest_rows, survey

DIMS = (1, 2, 5, 12)


@pytest.fixture
def gallery() -> Tensor:
    draw = torch.Generator().manual_seed(0)
    rows = torch.randn(5000, 12, generator=draw) * torch.linspace(2, 0.1, 12) + 0.5
    rows[4000:4300] = rows[:300]  # repeated rows, far from each other
    rows[4300:4400] = rows[:100] * 2
    return rows


@pytest.fixture
def query() -> Tensor:
    return torch.randn(90, 12, generator=torch.Generator().manual_seed(1)) + 0.5


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut where a gallery in memory has its tiles; blocks of another size would be projected by another product."""
    monkeypatch.setattr(stream, "BLOCK", 1024)
    monkeypatch.setattr(sys.modules[truncated.__module__], "TILE", 1024)


def test_the_first_pass_equals_the_gallery_in_memory(gallery: Tensor) -> None:
    found = survey(InMemory(gallery), 10)
    for part, expected in zip(found.groups, grouped_moments(gallery, 10, normalize=True), strict=True):
        for value, other in zip(part, expected, strict=True):
            torch.testing.assert_close(value, other, rtol=0, atol=0)
    torch.testing.assert_close(found.ties, tie_keys(gallery), rtol=0, atol=0)
    torch.testing.assert_close(found.directions, direction_keys(gallery), rtol=0, atol=0)
    assert len(found.directions.unique()) == 5000 - 400


def test_moments_of_blocks_of_any_length_and_precision(gallery: Tensor) -> None:
    rows = gallery.double() / 3  # no float32 numbers
    rows[:3000] = rows[:3000].float()
    found = MomentStream(12)
    for start, end in ((0, 2), (2, 1500), (1500, 3000), (3000, 5000)):  # a tile has 4096 rows
        found.add(rows[start:end].to(torch.float32 if end <= 3000 else torch.float64))
        found.result()  # takes nothing away
    for value, other in zip(found.result(), moments(rows), strict=True):
        torch.testing.assert_close(value, other, rtol=0, atol=0)


def test_the_nearest_rows_equal_those_in_memory(gallery: Tensor, query: Tensor) -> None:
    labels = torch.arange(5000) // 500
    basis = components_from_moments(merge_all(grouped_moments(gallery, 10, normalize=True)))
    ties = ties_of(gallery, labels, query)
    streamed = ties_of_keys(survey(InMemory(gallery), 10).ties, labels, tie_keys(query))
    step = fit_quantiser(largest_coordinates(InMemory(gallery), basis, 8)[None], "int8").step
    searches = [
        Search(lambda rows: (truncated(rows, basis, k) for k in DIMS)),
        Search(lambda rows: (projected(rows, basis, 8).float().div(step).round()[:, :k] for k in (2, 8))),
        Search(lambda rows: (projected(rows, basis, 8).float().sign()[:, :k] for k in (4, 8)), "euclidean"),
    ]
    found = nearest_rows(InMemory(gallery), query, searches, streamed, 50)
    for search, line in zip(searches, found, strict=True):
        for nearest, ours, theirs in zip(line, search.cut(gallery), search.cut(query), strict=True):
            expected = ties.nearest(ours, theirs, 50, search.metric)
            torch.testing.assert_close(nearest.indices, expected, rtol=0, atol=0)


def test_codes_are_calibrated_as_in_memory(gallery: Tensor) -> None:
    basis = components_from_moments(merge_all(grouped_moments(gallery, 10, normalize=True)))
    expected = projected(gallery, basis, 8).float().abs().amax(0)
    torch.testing.assert_close(largest_coordinates(InMemory(gallery), basis, 8), expected, rtol=0, atol=0)
