# SPDX-License-Identifier: Apache-2.0
"""Starts: the reference's collapse, the identity's spectrum, the log-normal moments."""

from __future__ import annotations

import pytest
import torch
from helpers.head_cases import ACTIVATIONS, INITS, PARAMETRIZATIONS, features, head, relu_features
from oracles import monotone as oracle
from torch.nn import functional as F


def test_reference_start_is_nearly_one_dimensional() -> None:
    report = head(256).init_report(relu_features(500, 256))
    assert report.output.singular_ratio > 5
    assert report.output.effective_dimension == 1
    assert report.output.mean_cosine > 0.99 > report.input.mean_cosine
    assert report.row_sums == pytest.approx((1 / 3, 1 / 3), rel=0.1)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
def test_identity_start_keeps_the_spectrum(parametrization: str, activation: str) -> None:
    for x in (relu_features(500, 64), features(500, 64)):
        report = head(64, init="identity", parametrization=parametrization, activation=activation).init_report(x)
        assert report.output.effective_dimension >= 0.9 * report.input.effective_dimension
        assert report.output.mean_cosine == pytest.approx(report.input.mean_cosine, abs=0.02)


def test_identity_start_is_the_signed_identity() -> None:
    network = head(4, num_layers=3, init="identity", monotone=[1, -1, 0, 1]).double()
    x = features(100, 4).double().clamp(-3.5, 3.5)
    torch.testing.assert_close(network(x), x * torch.tensor([1, -1, 1, 1]), rtol=0, atol=0.2)


@pytest.mark.parametrize("sizes", [(16, 8, 16), (16, 40, 4), (4, 6, 16)], ids=str)
def test_identity_start_keeps_what_the_narrowest_layer_can(sizes: tuple[int, int, int]) -> None:
    report = head(*sizes, init="identity").init_report(features(400, sizes[0]))
    assert report.output.effective_dimension >= 0.75 * min(*sizes, report.input.effective_dimension)


@pytest.mark.parametrize("activation", ["leaky_relu", "relu", "elu"])
def test_lognormal_start_keeps_the_moments_of_units(activation: str) -> None:
    # Inputs like an earlier layer's output: unit variance, correlation 1/2, through the activation.
    generator = torch.Generator().manual_seed(0)
    shared, own = (torch.randn(4000, n, generator=generator) for n in (1, 256))
    x = oracle.activate((shared + own) / 2**0.5, activation)
    network = head(256, 2048, init="lognormal", activation=activation)
    z = F.linear(x, network.effective_weights[0].detach(), network.layers[0].bias.detach())
    assert float(z.mean()) == pytest.approx(0, abs=0.1)
    assert float(z.square().mean()) == pytest.approx(1, abs=0.1)
    cross = (z.sum(dim=1).square() - z.square().sum(dim=1)).mean() / (2048 * 2047)
    assert float(cross) == pytest.approx(0.5, abs=0.1)


def test_lognormal_constants_are_the_papers() -> None:
    # Hoedt & Klambauer 2023, eq. for ReLU: m^2 = 6 pi / (N (6 (pi - 1) + (N - 1)(3 sqrt 3 + 2 pi - 6))), b < 0
    n, pi = 512, torch.pi
    scale = 6 * (pi - 1) + (n - 1) * (3 * 3**0.5 + 2 * pi - 6)
    layer = head(n, 4096, init="lognormal", activation="relu").layers[0]
    assert float(layer.weight.square().mean()) == pytest.approx((6 * pi / (n * scale)) ** 0.5, rel=0.01)
    assert float(layer.bias.mean()) == pytest.approx(-((3 * n / scale) ** 0.5), rel=0.01)


@pytest.mark.parametrize("init", INITS)
def test_starts_do_not_depend_on_the_parametrisation(init: str) -> None:
    wanted = head(8, init=init, monotone=[1, -1, 0, 1] * 2, seed=4).effective_weights
    for parametrization in PARAMETRIZATIONS[1:]:
        got = head(8, init=init, parametrization=parametrization, monotone=[1, -1, 0, 1] * 2, seed=4).effective_weights
        for a, b in zip(got, wanted, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=2e-8)


@pytest.mark.parametrize("init", INITS)
def test_reset_parameters_draws_anew(init: str) -> None:
    network = head(6, init=init, seed=7)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        network.reset_parameters()
    torch.testing.assert_close(dict(network.state_dict()), dict(head(6, init=init, seed=7).state_dict()))


def test_init_report_needs_rows() -> None:
    with pytest.raises(ValueError, match=r"`x` must be \(N, features\) with N >= 2 rows; got shape \(1, 4\)"):
        head(4).init_report(torch.zeros(1, 4))
