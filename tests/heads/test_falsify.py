# SPDX-License-Identifier: Apache-2.0
"""Heads are monotone and convex where they claim it, bounds are exact, and broken ones are caught."""

from __future__ import annotations

import pytest
import torch
from helpers.head_cases import ACTIVATIONS, INITS, PARAMETRIZATIONS, features, head
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_monocon.heads import MLPHead, MonotonicMLP
from lightning_monocon.heads.falsify import NotMonotoneError, find_counterexample


@settings(max_examples=60, deadline=None)
@given(
    parametrization=st.sampled_from(PARAMETRIZATIONS),
    activation=st.sampled_from(ACTIVATIONS),
    init=st.sampled_from(INITS),
    directions=st.lists(st.sampled_from([-1, 0, 1]), min_size=3, max_size=6),
    layers=st.integers(1, 3),
    seed=st.integers(0, 2**31),
)
def test_moving_in_the_directions_never_lowers_an_output(
    parametrization: str, activation: str, init: str, directions: list[int], layers: int, seed: int
) -> None:
    width = len(directions)
    network = head(
        width, 5, 4, layers, parametrization=parametrization, activation=activation, init=init, monotone=directions,
        seed=seed,
    ).double()  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    lower = torch.randn(64, width, generator=generator, dtype=torch.float64) * 3
    step = torch.rand(64, width, generator=generator, dtype=torch.float64) * 5
    rise = network(lower + step * torch.tensor(directions)) - network(lower)
    assert float(rise.min()) >= -1e-12 * float(network(lower).abs().max())


@pytest.mark.parametrize("num_layers", [1, 2])
def test_other_features_stay_monotone_while_one_is_free(num_layers: int) -> None:
    network = head(3, 32, 2, num_layers, monotone=[1, 0, -1]).double()
    jacobian = torch.autograd.functional.jacobian(lambda x: network(x).sum(0), features(200, 3).double())
    assert float(jacobian[:, :, 0].min()) > 0
    assert float(jacobian[:, :, 2].max()) < 0
    assert float(jacobian[:, :, 1].min()) < 0 < float(jacobian[:, :, 1].max())


@pytest.mark.parametrize("activation", ["leaky_relu", "relu", "linear"])
def test_convex_before_normalisation(activation: str) -> None:
    network = head(4, activation=activation, num_layers=2).double()
    a, b = features(500, 4, 1).double(), features(500, 4, 2).double()
    assert float(((network(a) + network(b)) / 2 - network((a + b) / 2)).min()) >= -1e-12


@pytest.mark.parametrize("activation", ["elu", "tanh"])
def test_not_convex_with_curved_activations(activation: str) -> None:
    # One unit with a slope of 4: its bend (elu's outer layer keeps it) sits inside the data.
    network = head(1, 1, 1, 2, activation=activation, parametrization="abs").double()
    with torch.no_grad():
        for layer in network.layers:
            layer.weight.fill_(4.0)
            layer.bias.fill_(-2.0 if activation == "elu" else 0.0)
    x = torch.linspace(-3, 3, 601, dtype=torch.float64)[:, None]
    curvature = network(x[2:]) - 2 * network(x[1:-1]) + network(x[:-2])
    assert (float(curvature.min()) < -1e-6) == (activation == "tanh")


def test_neither_monotone_nor_convex_after_normalisation() -> None:
    network = nn.Sequential(head(2, init="identity"), nn.Identity())
    low, high = torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 3.0]])
    assert bool((network(low) <= network(high)).all())
    # Raising the second feature lowers the first coordinate of the unit vector: 0.707 to 0.316.
    unit_low, unit_high = F.normalize(network(low)), F.normalize(network(high))
    assert float(unit_high[0, 0]) < float(unit_low[0, 0]) - 0.3
    middle = F.normalize(network((low + high) / 2))
    assert float(middle[0, 1]) > float((unit_low[0, 1] + unit_high[0, 1]) / 2) + 0.01


@pytest.mark.parametrize("init", INITS)
def test_assert_monotone_passes_on_any_start(init: str) -> None:
    head(6, init=init, monotone=[1, -1, 0, 1, 1, -1]).assert_monotone(features(50, 6), n=200)


def test_assert_monotone_shows_the_counterexample() -> None:
    class Broken(MonotonicMLP):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) - 2 * x[..., :1] ** 2

    network = head(3, kind=Broken)
    with pytest.raises(NotMonotoneError, match=r"not monotone: output \d falls by .* see `\.counterexample`") as caught:
        network.assert_monotone(features(20, 3), n=500, generator=torch.Generator().manual_seed(0))
    found = caught.value.counterexample
    assert bool((found.lower <= found.upper).all())
    fall = network(found.lower[None]) - network(found.upper[None])
    assert float(fall[0, found.output]) == pytest.approx(found.drop)


def test_free_twin_and_broken_weights_are_falsified() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        twin = MLPHead(4)
    assert find_counterexample(twin, features(10, 4).double(), torch.ones(4), 200) is not None
    network = head(4)
    nn.init.constant_(network.output_layer.weight, float("nan"))
    with pytest.raises(NotMonotoneError, match="falls by nan"):
        network.assert_monotone(features(10, 4))


@settings(max_examples=25, deadline=None)
@given(directions=st.lists(st.sampled_from([-1, 1]), min_size=2, max_size=6), seed=st.integers(0, 2**31))
def test_bounds_contain_the_box_and_are_attained(directions: list[int], seed: int) -> None:
    network = head(len(directions), monotone=directions, seed=seed).double()
    lower = features(1, len(directions), seed).double()[0]
    upper = lower + 1.5
    low, high = network.bounds(lower, upper)
    inside = lower + 1.5 * torch.rand(200, len(directions), dtype=torch.float64)
    y = network(inside)
    assert float((y - low).min()) >= -1e-12
    assert float((high - y).min()) >= -1e-12
    corners = torch.cartesian_prod(*[torch.stack(pair) for pair in zip(lower, upper, strict=True)])
    torch.testing.assert_close(network(corners).amin(0), low)
    torch.testing.assert_close(network(corners).amax(0), high)


def test_bounds_take_batches_and_fixed_free_features() -> None:
    network = head(3, monotone=[1, 0, -1])
    lower = features(5, 3)
    low, high = network.bounds(lower, lower + torch.tensor([1.0, 0.0, 1.0]))
    assert low.shape == high.shape == (5, 3)
    assert bool((low < high).all())


@pytest.mark.parametrize(
    ("lower", "upper", "sentence"),
    [
        ([0.0, 0.0], [1.0, 1.0], r"`lower` must have 3 features in its last dimension; got shape \(2,\)"),
        ([0.0, 0.0, 0.0], [1.0, float("nan"), 1.0], "`upper` must be finite; got NaN or infinity"),
        ([0.0, 0.0, 2.0], [1.0, 0.0, 1.0], "with `lower` nowhere above `upper`"),
        ([0.0, 0.0, 0.0], [1.0, 1.0, 1.0], r"must be equal in free features \(`monotone` 0\)"),
    ],
)
def test_bounds_refuse_bad_boxes(lower: list[float], upper: list[float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        head(3, monotone=[1, 0, -1]).bounds(torch.tensor(lower), torch.tensor(upper))


@pytest.mark.parametrize(
    ("x", "n", "sentence"),
    [
        (torch.zeros(3, 5), 10, r"`x` must have 4 features in its last dimension; got shape \(3, 5\)"),
        (torch.full((3, 4), float("inf")), 10, "`x` must be finite; got NaN or infinity"),
        (torch.zeros(0, 4), 10, r"`n` must be at least 1 and `x` \(rows, features\) with a row; got 10 and \(0, 4\)"),
        (torch.zeros(3, 4), 0, "`n` must be at least 1"),
    ],
)
def test_assert_monotone_refuses_what_it_cannot_try(x: Tensor, n: int, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        head(4).assert_monotone(x, n=n)
