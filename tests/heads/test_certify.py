# SPDX-License-Identifier: Apache-2.0
"""Bounds of heads hold, those of a monotone head are tighter, and answers that are proved do not change."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.head_cases import ACTIVATIONS, features, head
from scipy.optimize import linprog

from lightning_monocon.functional import certified_neighbours, neighbours
from lightning_monocon.functional.knn_accuracy import majority_vote
from lightning_monocon.heads import LinearHead, MLPHead, MonotonicMLP, certify_neighbours
from lightning_monocon.heads.base import Head


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("layers", [1, 3])
def test_interval_bounds_hold_everything_in_the_box(activation: str, layers: int) -> None:
    network = MLPHead(4, 16, 5, layers, activation=activation).double()
    centre = features(20, 4).double()
    lower, upper = network.bounds(centre - 0.3, centre + 0.3)
    offsets = torch.rand(2000, 1, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 0.6 - 0.3
    inside = network(centre + offsets)
    assert (inside >= lower - 1e-12).all() and (inside <= upper + 1e-12).all()


def test_interval_bounds_of_one_layer_are_exact() -> None:
    network, centre = LinearHead(4, 3).double(), features(5, 4).double()
    lower, upper = network.bounds(centre - 0.2, centre + 0.2)
    for place, row in enumerate(network.output_layer.weight):
        torch.testing.assert_close(network(centre - 0.2 * row.sign())[:, place], lower[:, place])
        torch.testing.assert_close(network(centre + 0.2 * row.sign())[:, place], upper[:, place])


def test_interval_bounds_of_a_monotone_head_are_its_own() -> None:
    network, centre = head(4, 8, 3, 2).double(), features(5, 4).double()
    exact, loose = network.bounds(centre - 0.2, centre + 0.2), Head.bounds(network, centre - 0.2, centre + 0.2)
    torch.testing.assert_close(exact, loose)
    with pytest.raises(ValueError, match="`lower` and `upper` must have one shape, with `lower` nowhere above"):
        LinearHead(4, 2).bounds(centre, centre - 1)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("layers", [1, 2])
def test_a_zonotope_holds_everything_in_the_box(activation: str, layers: int) -> None:
    network = MLPHead(4, 16, 5, layers, activation=activation).double()
    centre = features(20, 4).double()
    zone = network.zonotope(centre - 0.3, centre + 0.3)
    offsets = torch.rand(2000, 1, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1
    offsets[::2] = offsets[::2].sign()  # corners
    inside = network(centre + 0.3 * offsets)
    # in every direction no point lies beyond the zonotope's extremes; 100 directions find a hole
    directions = features(100, 5, seed=2).double()
    least = zone.centre @ directions.T - (zone.generators @ directions.T).abs().sum(1)
    reached = (inside @ directions.T).amin(0)
    assert (reached >= least - 1e-12).all()
    # and it is of use: at most three times as far from the middle as the points that were tried
    middle = zone.centre @ directions.T
    assert (middle - least).mean() <= 3 * (middle - reached).mean()


def test_a_linear_head_is_proved_wherever_a_linear_program_over_its_features_finds_no_other_row() -> None:
    torch.manual_seed(0)
    network, gallery, query = LinearHead(5, 3), features(12, 5, 1), features(30, 5, 2)
    found = certify_neighbours(network, gallery, None, query, 0.1, k=1).nearest
    exact = network.double()
    unit = torch.nn.functional.normalize(exact(gallery.double())).detach()
    weight, bias = exact.output_layer.weight.detach(), exact.output_layer.bias.detach()
    for point, proved in zip(query.double(), found, strict=True):
        top = int((unit @ exact(point)).argmax())
        limits = [(float(x) - 0.1, float(x) + 0.1) for x in point]
        leads = [
            linprog(((unit[top] - row) @ weight).numpy(), bounds=limits).fun + (unit[top] - row) @ bias for row in unit
        ]
        assert proved == (min(lead for place, lead in enumerate(leads) if place != top) > 0)
    assert 0.2 < found.double().mean() < 0.9
    boxes = exact.bounds(query.double() - 0.1, query.double() + 0.1)
    loose = certified_neighbours(unit, None, exact(query.double()).detach(), *boxes, k=1).nearest
    assert loose.sum() < found.sum() and not (loose & ~found).any()


@pytest.mark.parametrize("kind", [MonotonicMLP, MLPHead])
def test_no_features_within_reach_change_an_answer_that_is_proved(kind: type[MonotonicMLP | MLPHead]) -> None:
    torch.manual_seed(0)
    network = kind(6, 12, 4, init="identity")
    gallery, query, labels = features(80, 6, 1).relu(), features(30, 6, 2).relu(), torch.arange(80) % 3
    corner = 4 * torch.nn.functional.one_hot(torch.arange(3), 6)
    gallery, query = gallery + corner[labels], query + corner[labels[:30]]
    found = certify_neighbours(network, gallery, labels, query, 0.02, least=0.0)
    assert 0 < found.nearest.sum() and 0 < found.label.sum()
    embedded = network.double()(gallery.double())
    generator = torch.Generator().manual_seed(3)
    for _ in range(300):
        offset = torch.rand(query.shape, generator=generator, dtype=torch.float64) * 0.04 - 0.02
        moved = network((query + torch.where(torch.rand(30, 1) < 0.5, offset, 0.02 * offset.sign())).clamp(min=0))
        now, own = (neighbours(embedded, rows, 5).indices for rows in (moved, network(query.double())))
        assert (now[:, 0] == own[:, 0])[found.nearest].all()
        assert (majority_vote(labels[now]) == majority_vote(labels[own]))[found.label].all()


def test_the_page_runs(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (root / "docs" / "certificates.md").read_text(), re.DOTALL)
    exec("\n".join(blocks), {})
    told = capsys.readouterr().out
    counts = [int(count) for count in re.findall(r"(\d+) of 9", told)]
    assert len(counts) == 2 and min(counts) > 0
    assert "certified_accuracy" in told


def test_what_is_refused() -> None:
    network, rows = MonotonicMLP(3), features(8, 3)
    with pytest.raises(ValueError, match=r"`eps` must be finite and at least 0; got -1\.0"):
        certify_neighbours(network, rows, None, rows, -1.0)
    with pytest.raises(ValueError, match=r"`eps` must be of a shape that broadcasts to \(8, 3\); got \(2,\)"):
        certify_neighbours(network, rows, None, rows, torch.ones(2))
    with pytest.raises(ValueError, match="`query` must not fall below `least`, 0"):
        certify_neighbours(network, rows.relu(), None, rows - 5, 0.1, least=0)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"gallery": features(20, 3)}, "`gallery` must hold the 4 features that the head takes; got 3"),
        ({"query": features(5, 3)}, "`query` must hold the 4 features that the head takes; got 3"),
        ({"query": features(5, 4) / 0}, "`query` must be finite"),
        ({"gallery": features(20, 4) / 0}, "`gallery` must be finite"),
        ({"eps": float("inf")}, "`eps` must be finite and at least 0; got inf"),
        ({"eps": float("nan")}, "`eps` must be finite and at least 0; got nan"),
        ({"eps": -0.1}, "`eps` must be finite and at least 0; got -0.1"),
    ],
)
def test_errors_name_the_arguments_that_were_given(changed: dict[str, Any], words: str) -> None:
    arguments = {"gallery": features(20, 4), "gallery_labels": None, "query": features(5, 4), "eps": 0.1, **changed}
    with pytest.raises(ValueError, match=re.escape(words)):
        certify_neighbours(head(4, 8, 3, 2), **arguments)


class _Squared(MonotonicMLP):
    """Compute more than its layers, whose regions say nothing of it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).square()


@pytest.mark.parametrize("given", [_Squared(4), torch.nn.Linear(4, 4)])
def test_a_head_that_is_not_its_layers_is_refused(given: Any) -> None:
    rows = features(6, 4)
    with pytest.raises(TypeError, match=f"`head` must be a MonotonicMLP.*; got {type(given).__name__}"):
        certify_neighbours(given, rows, None, rows, eps=0.01, k=1)


def test_changes_that_are_no_numbers_or_overflow_are_named() -> None:
    rows, network = features(6, 4), MonotonicMLP(4)
    with pytest.raises(TypeError, match=r"`eps` must be a number, or a tensor of numbers; got '0\.1'"):
        certify_neighbours(network, rows, None, rows, eps="0.1", k=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`eps` must leave the head's outputs finite"):
        certify_neighbours(network, rows, None, rows, eps=1.7e308, k=1)
    with pytest.raises(TypeError, match="`least` must be a finite number, or None; got '0'"):
        certify_neighbours(network, rows, None, rows, eps=0.1, k=1, least="0")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`least` must be a finite number, or None; got nan"):
        certify_neighbours(network, rows, None, rows, eps=0.1, k=1, least=float("nan"))
