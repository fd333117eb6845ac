# SPDX-License-Identifier: Apache-2.0
"""Write the way from rows to codes as an ONNX graph: rows ``(N, D)`` float32 to codes ``(N, bytes)`` uint8.

The graph computes in float64, as encoding is defined, with stock operators of opset 17. It checks nothing: rows that
are not finite get some code.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from lightning_monocon.codes.codec import Codec
from lightning_monocon.codes.half import HalfQuantiser
from lightning_monocon.codes.levels import LevelQuantiser
from lightning_monocon.codes.product import CENTROIDS, ProductQuantiser
from lightning_monocon.codes.rabit import FACTOR_BYTES, ROUNDING, RabitQuantiser
from lightning_monocon.runs.files import whole

ONNX = "codec.onnx"

_OPSET, _IR = 17, 8  # what onnxruntime reads since 1.12


def _onnx() -> ModuleType:
    """Import onnx at the first use: it is an extra."""
    return import_module("onnx")


class _Op(Protocol):
    def __call__(self, *inputs: str | Tensor, **attributes: object) -> str: ...


class _Graph:
    """Collect nodes and constants: ``graph.MatMul("rows", matrix)`` adds a node and returns its output's name."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def __getattr__(self, operator: str) -> _Op:
        def add(*inputs: str | Tensor, **attributes: object) -> str:
            names = [each if isinstance(each, str) else self._constant(each) for each in inputs]
            outputs = [f"{operator}_{len(self.nodes)}_{i}" for i in range(2 if operator == "TopK" else 1)]
            self.nodes.append(_onnx().helper.make_node(operator, names, outputs, **attributes))
            return outputs[-1]  # of TopK the places

        return add

    def _constant(self, table: Tensor) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(_onnx().numpy_helper.from_array(table.contiguous().numpy(), name))
        return name

    def cast(self, value: str | Tensor, dtype: type[np.generic]) -> str:
        """Add a conversion to a NumPy type."""
        return self.Cast(value, to=_onnx().helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def write_onnx(codec: Codec, path: Path, stamp: str) -> None:
    """Write the graph of a codec on the CPU, with its stamp as metadata.

    Write nothing without the package onnx, or for additive quantisers, which have no graph.
    """
    graph = _Graph()
    codes = _codes(graph, codec) if find_spec("onnx") else None
    if codes is None:
        return
    onnx = _onnx()
    helper, types = onnx.helper, onnx.TensorProto
    graph.nodes.append(helper.make_node("Cast", [codes], ["codes"], to=types.UINT8))
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            codec.name,
            [helper.make_tensor_value_info("rows", types.FLOAT, ["N", codec.dim])],
            [helper.make_tensor_value_info("codes", types.UINT8, ["N", codec.bytes_per_vector])],
            graph.constants,
        ),
        producer_name="lightning-monocon",
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR,
    )
    helper.set_model_props(model, {"stamp": stamp})
    onnx.checker.check_model(model)
    with whole(path) as temporary:
        temporary.write_bytes(model.SerializeToString())


def _codes(graph: _Graph, codec: Codec) -> str | None:
    """Add the way from ``"rows"`` to codes ``(N, bytes)`` of some number type; return None for an unknown quantiser."""
    quantiser = codec.quantiser
    if isinstance(quantiser, LevelQuantiser):
        return _levels(graph, _coordinates(graph, codec), quantiser)
    if isinstance(quantiser, HalfQuantiser):
        return _half(graph, _coordinates(graph, codec), quantiser)
    if isinstance(quantiser, ProductQuantiser):
        return _product(graph, _coordinates(graph, codec), quantiser)
    if isinstance(quantiser, RabitQuantiser):
        return _rabit(graph, _coordinates(graph, codec), quantiser)
    return None


def _coordinates(graph: _Graph, codec: Codec) -> str:
    """Add the coordinates ``(N, k)`` float64. Squares of float32 neither overflow nor vanish in float64."""
    rows = graph.cast("rows", np.float64)
    if codec.space.similarity == "cosine":
        squares = graph.ReduceSum(graph.Mul(rows, rows), torch.tensor([1]), keepdims=1)
        length = graph.Sqrt(squares)
        zero = torch.tensor(0.0, dtype=torch.float64)
        rows = graph.Div(rows, graph.Where(graph.Equal(length, zero), zero + 1, length))
    matrix = graph.cast(codec.space.matrix.T, np.float64)  # stored in float32: half the size
    return graph.Sub(graph.MatMul(rows, matrix), codec.space.offset)


def _levels(graph: _Graph, coordinates: str, quantiser: LevelQuantiser) -> str:
    """Add a binary search of all numbers at once, a bit a step, and the packing of the bits."""
    steps, numbers = int(quantiser.bits.max()), len(quantiser.bits)
    bits = quantiser.bits.tolist()
    place, found = "", []
    for step in range(steps):
        # thresholds of each number, in the order of the bits found so far; beyond its own bits every bit is 0
        table = torch.full((numbers, 2**step), torch.inf, dtype=torch.float64)
        for j, own in enumerate(bits):
            if own > step:
                levels = quantiser.levels[j, : 2**own].double()
                table[j] = ((levels[1:] + levels[:-1]) / 2)[2 ** (own - step - 1) - 1 :: 2 ** (own - step)]
        thresholds: str | Tensor = table.flatten()
        if place:
            thresholds = graph.Gather(thresholds, graph.Add(place, torch.arange(numbers) * 2**step))
        bit = graph.cast(graph.Greater(coordinates, thresholds), np.int64)
        place = graph.Add(graph.Add(place, place), bit) if place else bit
        found.append(bit)
    order = [step * numbers + j for j, own in enumerate(bits) for step in range(own)]
    order += [steps * numbers] * (-len(order) % 8)  # whole bytes: a column of zeros
    nothing = graph.Mul(graph.Slice(found[0], *map(torch.tensor, ([0], [1], [1]))), torch.tensor(0))
    string = graph.Gather(graph.Concat(*found, nothing, axis=1), torch.tensor(order), axis=1)
    octets = graph.Mul(graph.Reshape(string, torch.tensor([-1, len(order) // 8, 8])), 2 ** torch.arange(8).flip(0))
    return graph.ReduceSum(octets, torch.tensor([2]), keepdims=0)


def _half(graph: _Graph, coordinates: str, quantiser: HalfQuantiser) -> str:
    """Add the rounding to float16 and its bits by arithmetic, for opset 17 has no operator that reads bits."""
    most = torch.tensor(float(torch.finfo(torch.float16).max), dtype=torch.float64)
    clipped = graph.cast(graph.Clip(coordinates, -most, most), np.float32)
    size = graph.Abs(graph.cast(graph.cast(clipped, np.float16), np.float32))
    powers = 2.0 ** (torch.arange(32) - 15)
    exponent = ""
    for step in torch.tensor([16, 8, 4, 2, 1]):
        power = graph.Gather(powers, graph.Add(exponent, step)) if exponent else powers[step]
        reached = graph.Mul(graph.cast(graph.GreaterOrEqual(size, power), np.int64), step)
        exponent = graph.Add(exponent, reached) if exponent else reached

    # 1024 times the exponent, and the mantissa without its leading one, which only subnormal numbers lack
    exponents = torch.arange(32)
    scale, shift = 2.0 ** (25 - exponents.clamp_min(1)), 1024.0 * (exponents - 1).clamp_min(0)
    whole = graph.cast(
        graph.Add(graph.Mul(size, graph.Gather(scale, exponent)), graph.Gather(shift, exponent)), np.int64
    )
    sign = graph.cast(graph.Less(coordinates, torch.tensor(0.0, dtype=torch.float64)), np.int64)
    high = graph.Add(graph.Div(whole, torch.tensor(256)), graph.Mul(sign, torch.tensor(128)))
    low = graph.Mod(whole, torch.tensor(256))
    pairs = [graph.Unsqueeze(part, torch.tensor([2])) for part in (low, high)]
    return graph.Reshape(graph.Concat(*pairs, axis=2), torch.tensor([-1, quantiser.bytes]))


def _product(graph: _Graph, coordinates: str, quantiser: ProductQuantiser) -> str:
    """Add the search of every group."""
    weighted = graph.Mul(coordinates, quantiser.weights.double())
    found, first = [], 0
    for table in quantiser.centroids:
        span = map(torch.tensor, ([first], [first + table.shape[2]], [1]))
        found.append(_search(graph, graph.Slice(weighted, *span), table, quantiser.beam))
        first += table.shape[2]
    return graph.Concat(*found, axis=1)


def _search(graph: _Graph, rows: str, centroids: Tensor, beam: int) -> str:
    """Add the codes ``(N, stages)`` of one group: a beam search over what the earlier stages leave."""
    stages = len(centroids)
    left = graph.Unsqueeze(rows, torch.tensor([1]))  # (N, kept, width)
    costs, codes = "", ""
    for stage, stored in enumerate(centroids):
        table = graph.cast(stored, np.float64)
        halves = stored.double().square().sum(1) / 2
        products = graph.MatMul(left, graph.Transpose(table, perm=[1, 0]))
        every = graph.Sub(graph.Add(costs, halves) if costs else halves, products)
        every = graph.Flatten(every, axis=1)  # (N, kept * 256)
        if stage == stages - 1:
            best = graph.ArgMin(every, axis=1, keepdims=1)
        else:
            best = graph.TopK(every, torch.tensor([beam]), axis=1, largest=0, sorted=1)
        own = graph.Mod(best, torch.tensor(CENTROIDS))
        last = graph.Unsqueeze(own, torch.tensor([2]))
        if not codes:
            codes = last
        else:
            parent = graph.Unsqueeze(graph.Div(best, torch.tensor(CENTROIDS)), torch.tensor([2]))
            left = graph.GatherND(left, parent, batch_dims=1)
            codes = graph.Concat(graph.GatherND(codes, parent, batch_dims=1), last, axis=2)
        if stage < stages - 1:
            costs = graph.Unsqueeze(graph.GatherElements(every, best, axis=1), torch.tensor([2]))
            left = graph.Sub(left, graph.Gather(table, own))
    return graph.Squeeze(codes, torch.tensor([1]))


def _rabit(graph: _Graph, coordinates: str, quantiser: RabitQuantiser) -> str:
    """Add the direction of odd numbers, packed as levels are, and the factor's four bytes."""
    zero, most = torch.tensor(0.0, dtype=torch.float64), 2**quantiser.bits - 1
    sizes = graph.Abs(coordinates)
    best = _directions(graph, sizes, quantiser) if quantiser.bits > 1 else graph.Add(graph.Mul(sizes, zero), zero + 1)
    signed = graph.Where(graph.Greater(coordinates, zero), best, graph.Neg(best))
    places = graph.cast(graph.Div(graph.Add(signed, zero + most), zero + 2), np.int64)  # (N, k)

    powers = 2 ** torch.arange(quantiser.bits).flip(0)
    bits = graph.Mod(graph.Div(graph.Unsqueeze(places, torch.tensor([2])), powers), torch.tensor(2))
    count = quantiser.width * quantiser.bits
    string = graph.Pad(graph.Reshape(bits, torch.tensor([-1, count])), torch.tensor([0, 0, 0, -count % 8]))
    octets = graph.Mul(graph.Reshape(string, torch.tensor([-1, -(-count // 8), 8])), 2 ** torch.arange(8).flip(0))

    product, square = (
        graph.ReduceSum(graph.Mul(sizes, other), torch.tensor([1]), keepdims=1) for other in (best, sizes)
    )
    positive = graph.Greater(product, zero)
    factor = graph.Where(positive, graph.Div(square, graph.Where(positive, product, zero + 1)), zero)
    return graph.Concat(graph.ReduceSum(octets, torch.tensor([2]), keepdims=0), _float_bytes(graph, factor), axis=1)


def _directions(graph: _Graph, sizes: str, quantiser: RabitQuantiser) -> str:
    """Add the positive odd numbers ``(N, k)`` of least angle, as `RabitQuantiser` searches them."""
    lower = torch.arange(1, 2**quantiser.bits - 1, 2, dtype=torch.float64)
    steps, tiny = len(lower), torch.tensor(torch.finfo(torch.float64).tiny, dtype=torch.float64)
    none, one, two = torch.arange(3, dtype=torch.float64)
    longest = graph.Max(graph.ReduceMax(sizes, axes=[1], keepdims=1), tiny)
    cells = graph.Div(graph.Unsqueeze(graph.Div(sizes, longest), torch.tensor([2])), lower + 1)
    flat = graph.Flatten(cells, axis=1)
    every = torch.tensor([quantiser.width * steps])
    order = graph.TopK(flat, every, axis=1, largest=1, sorted=1)  # of equals the first comes first
    gained = graph.Mul(graph.GatherElements(sizes, graph.Div(order, torch.tensor(steps)), axis=1), two)
    added = graph.Gather(4 * (lower + 1), graph.Mod(order, torch.tensor(steps)))
    first = graph.ReduceSum(sizes, torch.tensor([1]), keepdims=1)
    products = graph.CumSum(graph.Concat(first, gained, axis=1), torch.tensor(1))
    width = graph.Add(graph.Mul(first, none), quantiser.width * one)
    squares = graph.CumSum(graph.Concat(width, added, axis=1), torch.tensor(1))
    cosines = graph.Div(products, graph.Sqrt(squares))
    largest = graph.ReduceMax(cosines, axes=[1], keepdims=1)
    equals = graph.Sub(largest, graph.Mul(largest, one * ROUNDING))  # onnxruntime drops a factor that is nearly 1
    taken = graph.ArgMax(graph.cast(graph.GreaterOrEqual(cosines, equals), np.int64), axis=1, keepdims=1)
    early = graph.cast(graph.Less(torch.arange(int(every))[None], taken), np.float64)
    raised = graph.ScatterElements(graph.Mul(flat, none), order, early, axis=1)
    whole_steps = graph.Reshape(raised, torch.tensor([-1, quantiser.width, steps]))
    doubled = graph.Mul(graph.ReduceSum(whole_steps, torch.tensor([2]), keepdims=0), two)
    return graph.Add(doubled, one)


def _float_bytes(graph: _Graph, numbers: str) -> str:
    """Add the bytes ``(N, 4)`` of numbers ``(N, 1)``, not negative, as float32, the low one first, by arithmetic."""
    size = graph.cast(graph.cast(numbers, np.float32), np.float64)
    powers = 2.0 ** (torch.arange(256, dtype=torch.float64) - 127)
    exponent = ""
    for step in 2 ** torch.arange(8).flip(0):
        power = graph.Gather(powers, graph.Add(exponent, step)) if exponent else powers[step]
        reached = graph.Mul(graph.cast(graph.GreaterOrEqual(size, power), np.int64), step)
        exponent = graph.Add(exponent, reached) if exponent else reached

    # 2^23 times the exponent, and the mantissa without its leading one, which only subnormal numbers lack
    exponents = torch.arange(256, dtype=torch.float64)
    scale, shift = 2.0 ** (150 - exponents.clamp_min(1)), 2.0**23 * (exponents - 1).clamp_min(0)
    word = graph.cast(
        graph.Add(graph.Mul(size, graph.Gather(scale, exponent)), graph.Gather(shift, exponent)), np.int64
    )
    return graph.Mod(graph.Div(word, 256 ** torch.arange(FACTOR_BYTES)), torch.tensor(256))
