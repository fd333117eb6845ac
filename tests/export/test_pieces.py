# SPDX-License-Identifier: Apache-2.0
"""Projection, chain, codes and stamp, each against another route."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.head_cases import ACTIVATIONS, INITS, PARAMETRIZATIONS
from oracles.cut import cut, shares
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from lightning_monocon.export import Calibration, Projection, Stamp, check_same_space, fit_projection
from lightning_monocon.export.stack import UnitLength, describe, fold, model_hash, rebuild, stack_tensors, vector_stack
from lightning_monocon.export.stamp import parse_stamp
from lightning_monocon.functional.moments import merge_moments, moments
from lightning_monocon.heads import CompatibleHead, LinearHead, MLPHead, MonotonicMLP
from lightning_monocon.runs.digest import hash_tensors

Generator = Callable[[int], torch.Generator]


@pytest.fixture
def rows(generator: Generator) -> Tensor:
    """300 rows with falling variances, away from the origin."""
    draw = torch.randn(300, 12, generator=generator(0)) * torch.linspace(2, 0.2, 12)
    return draw + torch.linspace(-1, 1, 12)


def signless(vectors: Tensor, like: np.ndarray) -> np.ndarray:
    """The vectors with each component's sign turned to that of ``like``."""
    found = vectors.double().numpy()
    return found * np.sign((found * like).sum(0))


@pytest.mark.parametrize("dim", [1, 5, 0.9, 0.99])
def test_the_projection_is_that_of_a_singular_value_decomposition(rows: Tensor, dim: float) -> None:
    parts = [moments(part) for part in rows.split(70)]
    total = parts[0]
    for part in parts[1:]:
        total = merge_moments(total, part)
    found = fit_projection(total, dim)
    k = int(dim) if dim >= 1 else 1 + int((shares(rows.numpy()) < dim).sum())
    assert len(found.basis) == k
    assert found.explained == pytest.approx(shares(rows.numpy())[k - 1])
    expected = cut(rows.numpy(), rows[:50].numpy(), k)
    vectors = vector_stack([], found)(rows[:50])
    np.testing.assert_allclose(signless(vectors, expected), expected, atol=1e-5)


@pytest.mark.parametrize("centre", [True, False])
@pytest.mark.parametrize(("dim", "old"), [(7, 3), (0.9, 3), (3, 3), (0.01, 3), (12, 12), (0.9, 12)])
def test_numbers_that_must_stay_come_before_components_of_the_others(
    rows: Tensor, dim: float, old: int, centre: bool
) -> None:
    found = fit_projection(moments(rows), dim, centre, old)
    unit = nn.functional.normalize(rows.double()).numpy()
    spread = unit - unit.mean(0)
    variances = np.linalg.svd(spread[:, old:], compute_uv=False) ** 2
    shares_ = ((spread[:, :old] ** 2).sum() + np.append(0, variances.cumsum())) / (spread**2).sum()
    more = int(dim) - old if dim >= 1 else int((shares_ < dim).sum())
    assert found.old == old and len(found.basis) == old + more
    assert not found.mean[:old].any()
    np.testing.assert_array_equal(found.basis[:old].numpy(), np.eye(12)[:old])
    np.testing.assert_allclose(found.basis @ found.basis.T, np.eye(old + more), atol=1e-12)
    used = spread if centre else unit
    axes = np.linalg.svd(used[:, old:])[2][:more]
    np.testing.assert_allclose(np.abs(found.basis[old:, old:].numpy() @ axes.T), np.eye(more), atol=1e-9)
    kept = (used[:, :old] ** 2).sum() + ((used[:, old:] @ axes.T) ** 2).sum()
    assert found.explained == pytest.approx(kept / (used**2).sum())
    whole = nn.functional.normalize(vector_stack([], found)(rows)[:, :old])
    torch.testing.assert_close(whole, nn.functional.normalize(rows[:, :old]), rtol=0, atol=1e-5)


def test_a_dimension_above_the_rank_is_refused(rows: Tensor, generator: Generator) -> None:
    flat = rows[:, :4] @ torch.randn(4, 12, generator=generator(1))  # rank 4, up to the rounding of float32
    assert fit_projection(moments(flat), 0.999999).rank == 4
    with pytest.raises(ValueError, match=r"`dim` must not exceed 4, the gallery's rank in 12 dimensions.*; got 5"):
        fit_projection(moments(flat), 5)
    with pytest.raises(ValueError, match=r"`dim` must not exceed 9, the gallery's rank"):
        fit_projection(moments(rows[:10]), 10)


@pytest.mark.parametrize("dim", [0, -1, 1.5, 0.0, True, float("nan")])
def test_what_is_neither_share_nor_number_is_refused(rows: Tensor, dim: float) -> None:
    with pytest.raises(ValueError, match=r"`dim` must be a share of the variance between 0 and 1 or a whole number"):
        fit_projection(moments(rows), dim)


def test_a_collapsed_gallery_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`gallery` must hold at least 2 different rows"):
        fit_projection(moments(torch.zeros(5, 3)), 1)
    cone = torch.tensor([1.0, 0.0, 0.0]) + 1e-8 * torch.randn(50, 3, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"`gallery` must spread further than float32 rounds; .*: .* has collapsed"):
        fit_projection(moments(cone), 1)


@pytest.mark.parametrize("activation", ["leaky_relu", "relu", "elu", "tanh", "linear"])
def test_the_chain_is_the_head(rows: Tensor, activation: str) -> None:
    projection = fit_projection(moments(rows), 3)
    for head in (MonotonicMLP(12, 7, 12, activation=activation), MLPHead(12, 9, 12, 2, activation=activation)):
        with torch.no_grad():
            expected = nn.functional.normalize(head(rows))
            chain = vector_stack(fold(head), projection)
            torch.testing.assert_close(chain[:-2](rows), expected)
            again = rebuild(describe(chain), stack_tensors(chain))
            torch.testing.assert_close(again(rows), chain(rows), rtol=0, atol=0)


HEADS: dict[str, Callable[[], nn.Module]] = {
    **{f"monotonic, {name}": partial(MonotonicMLP, 12, 7, 5, parametrization=name) for name in PARAMETRIZATIONS},
    **{f"monotonic, {name}": partial(MonotonicMLP, 12, 7, 5, 2, init=name) for name in INITS},
    **{f"monotonic, {name}": partial(MonotonicMLP, 12, 7, 5, activation=name) for name in ACTIVATIONS},
    "monotonic, both signs": partial(MonotonicMLP, 12, 7, 5, monotone=[1, -1, 0] * 4),
    **{f"mlp, {name}": partial(MLPHead, 12, 9, 5, 3, activation=name) for name in ACTIVATIONS},
    **{f"mlp, {name}": partial(MLPHead, 12, 9, 5, init=name) for name in ("default", "squared", "identity")},
    "linear": partial(LinearHead, 12, 5),
    "none": nn.Identity,
    "compatible, monotonic": lambda: CompatibleHead(MonotonicMLP(12, 7, 5), 5),
    "compatible, no bias": lambda: CompatibleHead(nn.Linear(12, 5, bias=False), 5),
    "own, no bias": lambda: nn.Sequential(nn.Linear(12, 9, bias=False), nn.GELU(), nn.Linear(9, 5, bias=False)),
    "own, weight norm": lambda: parametrizations.weight_norm(nn.Linear(12, 5, bias=False)),
    "own, orthogonal": lambda: nn.Sequential(parametrizations.orthogonal(nn.Linear(12, 5)), nn.Tanh(), nn.Dropout()),
    "own, float64": lambda: nn.Linear(12, 5).double(),
}


@pytest.mark.parametrize("name", HEADS)
def test_every_head_comes_back_from_its_files_as_the_model_that_was_stamped(
    rows: Tensor, name: str, tmp_path: Path
) -> None:
    torch.manual_seed(4)
    head = HEADS[name]().eval()
    encoder, chain = nn.Linear(3, 12), vector_stack(fold(head), None)
    save_file(stack_tensors(chain), tmp_path / "head.safetensors")
    again = rebuild(describe(chain), load_file(tmp_path / "head.safetensors"))
    assert model_hash(encoder, again) == model_hash(encoder, chain)
    with torch.no_grad():
        expected = nn.functional.normalize(head(rows.double() if "float64" in name else rows).float())
        torch.testing.assert_close(again(rows), expected, rtol=0, atol=1e-5)


def test_other_heads_fold_too(rows: Tensor) -> None:
    assert [type(layer).__name__ for layer in fold(LinearHead(12, 3))] == ["Linear"]
    assert fold(nn.Identity()) == []
    own = nn.Sequential(nn.Linear(12, 5), nn.GELU(), nn.Dropout(0.5), nn.Linear(5, 5, bias=False))
    kept = nn.Sequential(*fold(own))
    torch.testing.assert_close(kept(rows), own.eval()(rows), rtol=0, atol=0)
    chain = vector_stack(fold(own), Projection(torch.zeros(5).double(), torch.eye(5).double()[:2], 1.0, 5, 9))
    assert rebuild(describe(chain), stack_tensors(chain))(rows).shape == (300, 2)
    assert own[0].weight.requires_grad
    for strange in (nn.BatchNorm1d(12), nn.LeakyReLU(0.3), nn.Sequential(nn.Linear(12, 3), nn.Softmax(1))):
        with pytest.raises(
            ValueError, match=r"`head` must be a head of this package or a chain of Linear and LeakyReLU"
        ):
            fold(strange)


def test_layers_without_their_weights_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`path` must describe layers whose weights it holds; .*'Softmax'"):
        rebuild([{"layer": "Softmax"}], {})
    spec = {"layer": "Linear", "name": "linear0", "in_features": 2, "out_features": 3}
    with pytest.raises(ValueError, match=r"the files belong to different exports"):
        rebuild([spec], {"linear0.weight": torch.zeros(2, 3), "linear0.bias": torch.zeros(3)})


@pytest.mark.parametrize("k", [1, 7, 8, 9, 16])
def test_codes_are_those_of_numpy(k: int, generator: Generator) -> None:
    vectors = nn.functional.normalize(torch.randn(40, k, generator=generator(k)))
    array = vectors.numpy()
    binary = Calibration.fit(vectors, "binary")
    np.testing.assert_array_equal(binary.codes(vectors).numpy(), np.packbits(array > 0, axis=1))
    np.testing.assert_array_equal(binary.decode(binary.codes(vectors)).numpy(), np.where(array > 0, 1.0, -1.0))
    int8 = Calibration.fit(vectors, "int8")
    step = np.abs(array).max() / np.float32(127)
    expected = np.clip(np.rint(array / step), -127, 127).astype(np.int8)
    np.testing.assert_array_equal(int8.codes(vectors).numpy(), expected)
    assert (int8.decode(int8.codes(vectors)) - vectors).abs().max() <= step / 2 * 1.001
    assert int8.codes(3 * vectors).abs().max() == 127  # clipped, not wrapped round
    assert [Calibration.fit(vectors, kind).bytes for kind in ("float32", "int8", "binary")] == [4 * k, k, -(-k // 8)]
    assert Calibration.fit(vectors, "float32").codes(vectors) is vectors


@pytest.fixture
def stamp() -> Stamp:
    return Stamp("m" * 64, "b" * 64, "c" * 64, 8, 64, "int8", {"head": {"arm": "mlp"}}, "0.1.0", chain="h" * 64)


def test_a_stamp_survives_json_and_names_its_space(stamp: Stamp) -> None:
    assert parse_stamp(stamp.as_json(), "here") == stamp
    assert stamp.space == "mmmmmmmm-bbbbbbbb-8-int8"
    check_same_space(stamp, replace(stamp, version="9.9", config={}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"basis": "d" * 64}, "basis bbbbbbbb and dddddddd"),
        ({"model": "d" * 64}, "model mmmmmmmm and dddddddd"),
        ({"dimension": 9}, "dimension 8 and 9"),
        ({"chain": "d" * 64}, "chain hhhhhhhh and dddddddd"),
        ({"storage": "float32"}, "storage int8 and float32"),
        ({"normalisation": "none"}, "normalisation l2, centre, project, l2 and none"),
        ({"format": "other/2"}, "format lightning-monocon/export/2 and other/2"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_two_spaces_never_meet(stamp: Stamp, change: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=rf"`first` and `second` must be of one space; they differ in {words}"):
        check_same_space(stamp, replace(stamp, **change))


def test_missing_foreign_and_torn_stamps_are_refused(stamp: Stamp) -> None:
    for content in (None, "{", "[]", "{}"):
        with pytest.raises(ValueError, match=r"must be written by `monocon export`; x.onnx has no stamp"):
            parse_stamp(content, "x.onnx")
    later = stamp.as_json().replace("export/2", "export/4")
    with pytest.raises(ValueError, match=r"must have the layout '.*/2'; x.onnx has '.*/4': export it again"):
        parse_stamp(later, "x.onnx")
    with pytest.raises(ValueError, match=r"must have a whole stamp; that of x lacks basis"):
        parse_stamp(stamp.as_json().replace('"basis"', '"base"'), "x")


def test_a_stamp_of_the_layout_before_is_compared_by_what_it_covers(stamp: Stamp) -> None:
    values = json.loads(stamp.as_json().replace("export/2", "export/1"))
    old = parse_stamp({name: value for name, value in values.items() if name not in ("chain", "description")}, "x")
    assert (old.format, old.chain) == ("lightning-monocon/export/1", "")
    check_same_space(old, stamp)
    check_same_space(stamp, old)
    with pytest.raises(ValueError, match=r"they differ in basis"):
        check_same_space(old, replace(stamp, basis="d" * 64))


def test_hashes_know_names_shapes_types_and_values() -> None:
    one = {"a": torch.arange(6.0), "b": torch.zeros(2)}
    assert hash_tensors(one) == hash_tensors(dict(reversed(one.items())))
    others = [{"a": torch.arange(6.0).view(2, 3)}, {"a": torch.arange(6)}, {"a": -torch.arange(6.0)}, {"c": one["a"]}]
    assert len({hash_tensors(one), *(hash_tensors({"b": one["b"], **other}) for other in others)}) == 5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_unit_length_keeps_zeros_and_short_rows(dtype: torch.dtype) -> None:
    """An epsilon below the smallest number of the dtype is zero, and a zero row divided by it is no number."""
    smallest = 2.0**-24 if dtype == torch.float16 else 1e-9
    rows = torch.tensor([[0.0, 0.0], [3.0, -4.0], [0.0, -smallest]], dtype=dtype)
    expected = torch.tensor([[0.0, 0.0], [0.6, -0.8], [0.0, -1.0]], dtype=dtype)
    torch.testing.assert_close(UnitLength()(rows), expected)
