# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lightning_monocon.functional.neighbours import Neighbours, neighbours
from lightning_monocon.functional.streamed_neighbours import NeighbourStream


def normal(rows: int, dim: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed))


def streamed(gallery: Tensor, query: Tensor, k: int, metric: str, sizes: list[int], first: Tensor) -> Neighbours:
    """Search in blocks of the given sizes, whose rows lie anywhere in the gallery."""
    stream = NeighbourStream(query, k, metric, first)
    for places in torch.randperm(len(gallery), generator=torch.Generator().manual_seed(1)).split(sizes):
        stream.add(gallery[places], places)
    return stream.result()


def same(gallery: Tensor, query: Tensor, k: int, metric: str, sizes: list[int]) -> None:
    first = torch.randint(len(gallery), (len(query),), generator=torch.Generator().manual_seed(2))
    found = streamed(gallery, query, k, metric, sizes, first)
    expected = neighbours(gallery, query, k, metric, first=first)
    torch.testing.assert_close(found.indices, expected.indices, rtol=0, atol=0)
    torch.testing.assert_close(found.distances, expected.distances, rtol=0, atol=0)


KINDS = {
    "normal": lambda rows, dim: normal(rows, dim),
    "ties": lambda rows, dim: normal(rows, dim).sign(),
    "copies": lambda rows, dim: normal(7, dim).repeat(rows // 7 + 1, 1)[:rows],
    "cone": lambda rows, dim: normal(rows, dim) * 1e-4 + 5,
    "zeros": lambda rows, dim: normal(rows, dim) * (torch.arange(rows) % 3 > 0)[:, None],
    "one class after the other": lambda rows, dim: (
        normal(rows, dim) * 0.1 + normal(4, dim).repeat_interleave(rows // 4 + 1, 0)[:rows]
    ),
    "float64": lambda rows, dim: normal(rows, dim).double() * 1e-3 + 1,
    "huge": lambda rows, dim: normal(rows, dim) * 1e30,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("dim", [1, 2, 17])
def test_blocks_give_what_the_whole_gives(kind: str, metric: str, dim: int) -> None:
    rows = KINDS[kind](1100 + 300, dim)
    same(rows[:1100], rows[1100:], 5, metric, [300, 1, 3, 296, 500])


@pytest.mark.parametrize(
    "sizes", [[40] * 10, [2, 2, 396], [400], [1] * 400], ids=["even", "small first", "one", "rows"]
)
def test_blocks_of_any_size(sizes: list[int]) -> None:
    same(normal(400, 6), normal(30, 6, 1), 50, "cosine", sizes)


def test_gallery_in_order_of_distance_from_far_to_near() -> None:
    """Every block pushes out all that was found before."""
    query = torch.zeros(1, 3)
    gallery = torch.linspace(9, 1, 600)[:, None] * torch.nn.functional.normalize(normal(600, 3), dim=1)
    stream = NeighbourStream(query, 7, "euclidean")
    for places in torch.arange(600).split(50):
        stream.add(gallery[places], places)
    assert stream.result().indices.tolist() == [list(range(599, 592, -1))]


def test_places_that_take_more_than_four_bytes() -> None:
    query, gallery = normal(6, 4, 1), normal(60, 4)
    first = torch.arange(6)
    far = torch.arange(60) + (1 << 33)
    stream = NeighbourStream(query, 5, first=first)
    stream.add(gallery[:30], torch.arange(30))
    stream.add(gallery[30:], far[30:])
    expected = neighbours(gallery, query, 5, first=first).indices
    assert stream.result().indices.tolist() == torch.where(expected < 30, expected, far[expected]).tolist()


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="`k` must be an integer of at least 1; got 0"):
        NeighbourStream(normal(2, 3), 0)
    with pytest.raises(ValueError, match="`metric` must be one of 'cosine', 'euclidean'"):
        NeighbourStream(normal(2, 3), 1, "dot")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`query` must be finite; 1 of 2"):
        NeighbourStream(torch.tensor([[1.0], [torch.nan]]), 1)
    stream = NeighbourStream(normal(2, 3), 4, "euclidean")
    with pytest.raises(ValueError, match="`rows` must have 3 features"):
        stream.add(normal(2, 4), torch.arange(2))
    with pytest.raises(ValueError, match="`rows` must be finite; 1 of 1"):
        stream.add(torch.tensor([[torch.inf, 0, 0]]), torch.arange(1))
    stream.add(normal(3, 3), torch.arange(3))
    with pytest.raises(ValueError, match="`k` must be at most 3, the rows of the gallery; got 4"):
        stream.result()
    with pytest.raises(ValueError, match=r"`rows` must be of like length in all blocks; .* Add the longest rows first"):
        stream.add(normal(3, 3) * 1e20, torch.arange(3, 6))
