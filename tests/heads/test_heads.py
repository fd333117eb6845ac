# SPDX-License-Identifier: Apache-2.0
"""The heads: what they compute, folding, checkpoints, export, and the float32 island."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys

import pytest
import torch
from helpers.head_cases import ACTIVATIONS, PARAMETRIZATIONS, features, head, relu_features
from oracles import monotone as oracle
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_monocon.functional.knn_accuracy import knn_accuracy
from lightning_monocon.heads import LinearHead, MLPHead, MonotonicMLP


@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
def test_forward_equals_the_oracle(parametrization: str, num_layers: int) -> None:
    network = head(7, 9, 5, num_layers, parametrization=parametrization, monotone=[1, -1, 0, 1, 1, 0, -1])
    x = features(6, 7)
    weights, biases = [p.weight for p in network.layers], [p.bias for p in network.layers]
    expected = oracle.stack(x, weights, biases, parametrization, "leaky_relu", network.monotone)
    torch.testing.assert_close(network(x).double(), expected, rtol=1e-5, atol=1e-5)


def test_heads_bring_no_compiler_and_no_lightning() -> None:
    heavy = ("triton", "torch._dynamo", "lightning", "pytorch_lightning")
    program = f"import sys, lightning_monocon.heads; print([name for name in {heavy} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_default_sizes_are_the_papers() -> None:
    network = MonotonicMLP(6)
    assert [tuple(p.weight.shape) for p in network.layers] == [(12, 6), (6, 12)]
    assert [tuple(p.weight.shape) for p in LinearHead(6, 2).layers] == [(2, 6)]


def test_twins_share_names_and_sizes() -> None:
    shapes = [{name: p.shape for name, p in kind(5, 4, 3, 2).named_parameters()} for kind in (MonotonicMLP, MLPHead)]
    assert shapes[0] == shapes[1]


def test_free_twin_and_bottleneck_are_plain_layers() -> None:
    x, twin, bottleneck = features(4, 5), MLPHead(5), LinearHead(5, 2)
    hidden = F.leaky_relu(F.linear(x, twin.layers[0].weight, twin.layers[0].bias), 0.01)
    torch.testing.assert_close(twin(x), F.linear(hidden, twin.layers[1].weight, twin.layers[1].bias))
    torch.testing.assert_close(bottleneck(x), F.linear(x, bottleneck.layers[0].weight, bottleneck.layers[0].bias))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
def test_fold_is_stock_layers_with_the_same_output(parametrization: str, activation: str) -> None:
    network = head(16, parametrization=parametrization, activation=activation, monotone=[1, -1, 0, 1] * 4)
    folded, x = network.fold(), features(50, 16)
    assert {type(m).__module__.split(".")[0] for m in folded.modules()} == {"torch"}
    torch.testing.assert_close(folded(x), network(x), rtol=1e-6, atol=1e-6)
    nn.init.zeros_(folded[0].weight)
    assert float(network.layers[0].weight.abs().max()) > 0  # a copy


def test_fold_of_the_twins() -> None:
    x = features(9, 6)
    for network in (MLPHead(6, num_layers=2), LinearHead(6, 2), head(6).bfloat16()):
        torch.testing.assert_close(network.fold()(x), network(x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "network", [head(5, monotone=[1, -1, 0, 1, 1]), MLPHead(5), LinearHead(5, 2)], ids=lambda m: type(m).__name__
)
def test_copies_and_pickles_are_equal(network: nn.Module) -> None:
    x = features(4, 5)
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        torch.testing.assert_close(twin(x), network(x), rtol=0, atol=0)


class ReferenceHead(nn.Module):
    """Layers named as the paper's published code names them."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden_layers = nn.ModuleList([nn.Linear(5, 10), nn.Linear(10, 10)])
        self.output_layer = nn.Linear(10, 5)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.hidden_layers:
            x = F.leaky_relu(F.linear(x, layer.weight**2, layer.bias), 0.01)
        return F.linear(x, self.output_layer.weight**2, self.output_layer.bias)


def test_reference_checkpoint_loads_strictly() -> None:
    theirs, ours = ReferenceHead(), MonotonicMLP(5, num_layers=2)
    buffer = io.BytesIO()
    torch.save(theirs.state_dict(), buffer)
    buffer.seek(0)
    ours.load_state_dict(torch.load(buffer, weights_only=True), strict=True)
    x = features(6, 5)
    torch.testing.assert_close(ours(x), theirs(x))


def test_a_seed_gives_the_references_parameters() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        theirs = ReferenceHead().state_dict()
    torch.testing.assert_close(dict(head(5, num_layers=2, seed=3).state_dict()), dict(theirs), rtol=0, atol=0)


def test_directions_travel_with_the_checkpoint() -> None:
    signed = head(3, monotone=[1, -1, 0])
    other = head(3, monotone=[1, 1, 1], seed=1)
    other.load_state_dict(signed.state_dict())
    torch.testing.assert_close(other(features(4, 3)), signed(features(4, 3)), rtol=0, atol=0)
    with pytest.raises(RuntimeError, match=r'Unexpected key.*"monotone"'):
        head(3).load_state_dict(signed.state_dict())


def test_export_keeps_stock_operators_and_a_free_batch() -> None:
    network, x = head(6, monotone=[1, -1, 0, 1, 1, -1]), features(4, 6)
    program = torch.export.export(network, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    assert all(str(n.target).startswith("aten") for n in program.graph.nodes if n.op == "call_function")
    torch.testing.assert_close(program.module()(features(9, 6)), network(features(9, 6)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_leaves_the_head_in_float32(dtype: torch.dtype) -> None:
    network, x = head(32), relu_features(64, 32).requires_grad_()
    outside = torch.autograd.grad(network(x).square().sum(), x)[0]
    with torch.autocast("cpu", dtype):
        y = network(x)
        assert y.dtype == torch.float32
        torch.testing.assert_close(y, network.fold()(x).float(), rtol=0.02, atol=0.02)
    torch.testing.assert_close(torch.autograd.grad(y.square().sum(), x)[0], outside, rtol=0, atol=0)


def test_neighbours_survive_rounded_operands_and_not_a_rounded_output() -> None:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(100, 512, generator=generator)
    labels = torch.arange(3000) % 100
    x = F.relu(centres[labels] + torch.randn(3000, 512, generator=generator))
    network = head(512)

    def accuracy(y: Tensor) -> float:
        return float(knn_accuracy(y[:2000], labels[:2000], y[2000:], labels[2000:]))

    exact, rounded_output = accuracy(network(x)), accuracy(network(x).bfloat16().float())
    network.precision = "bf16"
    assert accuracy(network(x)) == pytest.approx(exact, abs=0.05)
    assert rounded_output < 0.75 * exact


def test_16_bit_heads_and_inputs_return_float32() -> None:
    x = features(4, 8)
    assert head(8)(x.bfloat16()).dtype == torch.float32
    assert head(8).bfloat16()(x.bfloat16()).dtype == torch.float32
    assert head(8).double()(x).dtype == torch.float64


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"in_features": 0}, "`in_features` must be a positive integer; got 0"),
        ({"hidden_features": 2.5}, "`hidden_features` must be a positive integer; got 2.5"),
        ({"out_features": -1}, "`out_features` must be a positive integer; got -1"),
        ({"num_layers": 0}, "`num_layers` must be a positive integer; got 0"),
        ({"num_layers": True}, "`num_layers` must be a positive integer; got True"),
        (
            {"parametrization": "none"},
            "`parametrization` must be one of 'square', 'exp', 'softplus', 'abs'; got 'none'",
        ),
        ({"activation": "gelu"}, "`activation` must be one of 'leaky_relu', .*; got 'gelu'"),
        ({"init": "kaiming"}, "`init` must be one of 'reference', 'identity', 'lognormal'; got 'kaiming'"),
        ({"backend": "cublas"}, "`backend` must be one of 'auto', 'triton', 'torch'; got 'cublas'"),
        ({"monotone": [1, 1]}, r"`monotone` must hold 4 numbers out of \+1, -1 and 0, one per feature; got \[1, 1\]"),
        ({"monotone": [1, 2, 1, 1]}, r"`monotone` must hold 4 numbers out of \+1, -1 and 0"),
        ({"monotone": [1, 0.5, 1, 1]}, r"`monotone` must hold 4 numbers out of \+1, -1 and 0"),
        ({"monotone": "up"}, r"`monotone` must hold 4 numbers out of \+1, -1 and 0, one per feature; got 'up'"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
)
def test_bad_construction_is_named(arguments: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        MonotonicMLP(**{"in_features": 4, **arguments})


@pytest.mark.parametrize("network", [head(4), MLPHead(4), LinearHead(4, 2)], ids=lambda m: type(m).__name__)
def test_bad_inputs_are_named(network: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"since `x` has 5 features; got shape \(\d, 4\)"):
        network(torch.zeros(2, 5))
    with pytest.raises(TypeError, match=r"`x` must hold floating-point numbers; got torch.int64. Use `x.float\(\)`"):
        network(torch.zeros(2, 4, dtype=torch.int64))


def test_empty_and_single_rows_pass_through() -> None:
    assert head(4)(torch.zeros(0, 4)).shape == (0, 4)
    assert head(4)(torch.zeros(1, 4)).shape == (1, 4)


@pytest.mark.parametrize(
    ("free", "monotonic"), [("squared", "reference"), ("identity", "identity"), ("lognormal", "lognormal")]
)
def test_a_free_head_can_start_as_the_monotonic_head_of_its_seed(free: str, monotonic: str) -> None:
    x = torch.randn(50, 12, generator=torch.Generator().manual_seed(0)).abs()
    heads = []
    for kind, init in ((MLPHead, free), (MonotonicMLP, monotonic)):
        torch.manual_seed(3)
        heads.append(kind(12, init=init))
    torch.testing.assert_close(heads[0](x), heads[1](x), rtol=1e-5, atol=1e-5)
    assert heads[0].hidden_layers[0].weight.min() >= 0
    (slope,) = torch.autograd.grad(heads[0](x).sum(), heads[0].hidden_layers[0].weight)
    assert slope.abs().sum() > 0


def test_unknown_starts_of_a_free_head_are_refused() -> None:
    with pytest.raises(
        ValueError, match="`init` must be one of 'default', 'squared', 'identity', 'lognormal'; got 'reference'"
    ):
        MLPHead(4, init="reference")
