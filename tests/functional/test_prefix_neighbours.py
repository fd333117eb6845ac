# SPDX-License-Identifier: Apache-2.0
"""Neighbours within prefixes of the columns, against a float64 search at each size."""

import numpy as np
import pytest
import torch
from torch import Tensor

from lightning_monocon.functional import prefix_neighbours as module
from lightning_monocon.functional import reaching, whole_number_neighbours
from lightning_monocon.functional.neighbours import best_of, neighbours
from lightning_monocon.functional.prefix_neighbours import prefix_neighbours
from lightning_monocon.functional.unit_rows import unit_rows

DIMS = (1, 2, 3, 5, 8, 13, 24)


def brute(gallery: Tensor, query: Tensor, k: int, first: Tensor) -> Tensor:
    """Order all rows by rounded float64 distance of unit rows, equal ones from ``first`` on."""
    sides = [rows.double().numpy() for rows in (gallery, query)]
    lengths = [np.linalg.norm(rows, axis=1, keepdims=True) for rows in sides]
    known, asked = (rows / np.where(length == 0, 1, length) for rows, length in zip(sides, lengths, strict=True))
    distance = (1 - asked @ known.T).round(13)
    late = (np.arange(len(known)) - first.numpy()[:, None]) % len(known)
    return torch.from_numpy(np.lexsort((late, distance), axis=1)[:, :k])


def rows_of(kind: str) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    gallery, query = (torch.randn(n, 24, generator=generator, dtype=torch.float64) for n in (700, 60))
    if kind == "signs":
        return gallery.sign().float(), query.sign().float()
    if kind == "codes":  # few values, so that rows and cosines coincide
        return (gallery * 1.5).round().float(), (query * 1.5).round().float()
    if kind == "copies":
        return gallery[torch.arange(700) // 7], torch.cat([query[:30], gallery[:30]])
    if kind == "zeros":
        gallery[::3, :5] = 0
        return gallery, query
    if kind == "cone":
        offset = 1e4 * torch.randn(24, generator=generator, dtype=torch.float64)
        return gallery + offset, query + offset
    if kind == "tiny":
        gallery[::2] *= 1e-30
        return gallery, query * 1e30
    return gallery.float(), query.float()


@pytest.fixture(params=["one tile", "thresholds", "crowded"])
def tiles(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Search a few hundred rows as many thousand are searched."""
    kind = str(request.param)
    if kind != "one tile":
        monkeypatch.setattr(reaching, "ROWS", 50)
        monkeypatch.setattr(reaching, "_SAMPLED", 150)
        monkeypatch.setattr(reaching, "_BLOCK", 3)
        for searching in (module, whole_number_neighbours):
            monkeypatch.setattr(searching, "QUERIES", 25)
    if kind == "crowded":
        monkeypatch.setattr(reaching.Tiling, "most", 1)
    return kind


@pytest.mark.parametrize("kind", ["floats", "signs", "copies", "zeros", "tiny"])
@pytest.mark.usefixtures("tiles")
def test_each_prefix_has_the_neighbours_of_a_brute_force_search(kind: str) -> None:
    gallery, query = rows_of(kind)
    first = torch.arange(len(query)) * 11
    found = prefix_neighbours(gallery, query, DIMS, 12, first)
    for dim, rows in zip(DIMS, found, strict=True):
        assert rows.equal(brute(gallery[:, :dim], query[:, :dim], 12, first)), dim


@pytest.mark.parametrize("kind", ["floats", "signs", "codes", "copies", "zeros", "cone", "tiny"])
@pytest.mark.usefixtures("tiles")
def test_a_prefix_is_searched_as_rows_of_its_own_are(kind: str) -> None:
    gallery, query = rows_of(kind)
    first = torch.arange(len(query)) * 11
    metric = "euclidean" if kind == "signs" else "cosine"
    for dim, rows in zip(DIMS, prefix_neighbours(gallery, query, DIMS, 30, first), strict=True):
        assert rows.equal(neighbours(gallery[:, :dim], query[:, :dim], 30, metric, first=first).indices), dim


@pytest.mark.parametrize("kind", ["floats", "signs", "codes", "copies", "zeros", "cone"])
@pytest.mark.usefixtures("tiles")
def test_an_order_of_ties_is_that_of_a_gallery_that_lies_in_it(kind: str) -> None:
    gallery, query = rows_of(kind)
    first = torch.arange(len(query)) * 11
    order = torch.randperm(len(gallery), generator=torch.Generator().manual_seed(5))
    found = prefix_neighbours(gallery, query, DIMS, 12, first, order)
    sorted_rows = prefix_neighbours(gallery[order], query, DIMS, 12, first)
    for dim, rows, places in zip(DIMS, found, sorted_rows, strict=True):
        assert rows.equal(order[places]), dim


def test_all_rows_can_be_asked_for_and_no_query_finds_none() -> None:
    gallery, query = rows_of("floats")
    (found,) = prefix_neighbours(gallery, query, (4,), 700, torch.zeros(60, dtype=torch.int64))
    assert found.sort(1).values.equal(torch.arange(700).expand(60, -1))
    for dims in ((1, 4), (4,)):
        assert [tuple(rows.shape) for rows in prefix_neighbours(gallery, query[:0], dims, 5, torch.arange(0))] == [
            (0, 5) for _ in dims
        ]


@pytest.mark.parametrize("kind", ["floats", "codes", "copies", "zeros", "cone"])
@pytest.mark.usefixtures("tiles")
def test_whole_rows_are_found_by_their_coordinates(kind: str) -> None:
    gallery, query = rows_of(kind)
    first = torch.arange(len(query)) * 11
    axes = torch.linalg.qr(torch.randn(24, 24, generator=torch.Generator().manual_seed(2), dtype=torch.float64))[0]
    centre = unit_rows(gallery.double()).mean(0)
    known, asked = ((unit_rows(rows.double()) - centre) @ axes for rows in (gallery, query))
    found = [*prefix_neighbours(known, asked, (3, 9), 12, first, whole=(gallery, query))]
    assert found[-1].equal(neighbours(gallery, query, 12, first=first).indices)
    for dim, rows in zip((3, 9), found, strict=False):
        assert rows.equal(neighbours(known[:, :dim], asked[:, :dim], 12, first=first).indices), dim


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.usefixtures("tiles")
def test_signs_are_searched_with_and_without_fast_products(monkeypatch: pytest.MonkeyPatch, fast: bool) -> None:
    monkeypatch.setattr(whole_number_neighbours, "_has_fast_integers", lambda: fast)
    gallery, query = rows_of("signs")
    first = torch.arange(len(query)) * 11
    for dim, rows in zip(DIMS, prefix_neighbours(gallery, query, DIMS, 12, first), strict=True):
        assert rows.equal(brute(gallery[:, :dim], query[:, :dim], 12, first)), dim


def test_thresholds_leave_little_to_be_searched_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    searched = list[int]()
    best = module._Search.best

    def counting(self: module._Search, query: Tensor, place: int) -> module._Found:
        searched.append(len(query))
        return best(self, query, place)

    monkeypatch.setattr(module._Search, "best", counting)
    generator = torch.Generator().manual_seed(0)
    gallery, query = torch.randn(20_000, 12, generator=generator), torch.randn(300, 12, generator=generator)
    found = [*prefix_neighbours(gallery, query, (4, 12), 50, torch.zeros(300, dtype=torch.int64))]
    assert sum(searched) < 30
    assert found[1].equal(neighbours(gallery, query, 50).indices)


@pytest.mark.parametrize("count", [1, 5, 40])
@pytest.mark.parametrize("columns", [3, 200, 1280, 1293])
def test_the_best_are_those_of_a_whole_sort(count: int, columns: int) -> None:
    scores = torch.randperm(30 * columns, generator=torch.Generator().manual_seed(1)).view(30, columns).float()
    best, where = best_of(scores, count)
    expected = scores.topk(min(count, columns), dim=1)
    assert best.equal(expected.values)
    assert where.equal(expected.indices)
