# SPDX-License-Identifier: Apache-2.0
"""A trainable code computes what its codec does, and its gradient is the one without the rounding."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lightning_monocon.codes import Codec, FittingRows
from lightning_monocon.codes.families import fit_product, fit_transform
from lightning_monocon.codes.space import Scoring
from lightning_monocon.learnt import TrainableCode


def rows(count: int = 300, dim: int = 12) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, dim, generator=generator) * torch.linspace(3, 0.5, dim) + 0.5


@pytest.fixture(scope="module", params=["whole", "centred"])
def codec(request: pytest.FixtureRequest) -> Codec:
    scoring: Scoring = request.param
    return fit_product(FittingRows.of(rows()), 2, scoring)


def moved(codec: Codec) -> TrainableCode:
    """A code after steps of some training: its matrix has no orthonormal rows."""
    code = TrainableCode(codec)
    with torch.no_grad():
        code.matrix += 0.1 * torch.randn(code.matrix.shape, generator=torch.Generator().manual_seed(2))
    return code


def test_places_and_queries_are_those_of_the_codec(codec: Codec) -> None:
    code, given = moved(codec), rows()
    placed, _ = code(given)
    found = code.codec()
    torch.testing.assert_close(placed, found.decode(found.encode(given)), rtol=0, atol=1e-5)
    torch.testing.assert_close(code.queries(given) @ placed.T, found.score(given, found.encode(given)))
    assert found.name == "learnt-2" and not torch.equal(found.space.matrix, codec.space.matrix)


def test_rows_of_half_precision_may_lie_at_the_origin(codec: Codec) -> None:
    """As in mixed precision, where the head returns float16."""
    code, given = moved(codec), rows(50).half()
    given[0] = 0
    for place in (code.queries, lambda each: code(each)[0]):
        torch.testing.assert_close(place(given), place(given.float()), rtol=0, atol=0)


@pytest.mark.parametrize("through", [1.0, 0.5])
def test_the_matrix_gets_the_gradient_without_the_rounding(through: float) -> None:
    codec, given = fit_product(FittingRows.of(rows()), 2, "centred"), rows(7)
    upstream = torch.randn(7, codec.space.matrix.shape[0], generator=torch.Generator().manual_seed(3))
    code = TrainableCode(codec, through)
    placed, _ = code(given)
    torch.autograd.backward((placed * upstream).sum())

    # by hand, in float64: the derivative of u = y / |y|, at the rounded y, times x - m
    unit = given.double().numpy() / np.linalg.norm(given.double().numpy(), axis=1, keepdims=True)
    rounded = codec.quantiser.decode(codec.encode(given)).double().numpy()
    length = np.linalg.norm(rounded, axis=1, keepdims=True)
    direction, g = rounded / length, upstream.double().numpy()
    slope = (g - (g * direction).sum(1, keepdims=True) * direction) / length
    expected = through * slope.T @ (unit - codec.space.mean.double().numpy())
    assert code.matrix.grad is not None
    np.testing.assert_allclose(code.matrix.grad.numpy(), expected, rtol=1e-3, atol=1e-5)


def test_centroids_follow_by_their_distance_alone(codec: Codec) -> None:
    code, given = TrainableCode(codec), rows(50)
    placed, apart = code(given)
    torch.autograd.backward(placed.sum(), retain_graph=True)
    assert all(table.grad is None for table in code.centroids)
    torch.autograd.backward(apart)
    codes = codec.encode(given).long()
    weighted = codec.space.coordinates(given) * code.weights.double()
    found = torch.cat([table.detach()[0].double()[codes[:, g]] for g, table in enumerate(code.centroids)], 1)
    assert apart.item() == pytest.approx(float((weighted - found).square().sum(1).mean()), rel=1e-4)
    assert all(table.grad is not None and table.grad.any() for table in code.centroids)


def test_a_state_rebuilds_the_code(codec: Codec) -> None:
    code = moved(codec)
    other = TrainableCode.of_state(code.state_dict(), **code.description())
    assert torch.equal(other.codec().encode(rows()), code.codec().encode(rows()))


def test_a_code_of_levels_is_refused() -> None:
    with pytest.raises(ValueError, match=r'`codec` must have a product quantiser .* got the quantiser "levels"'):
        TrainableCode(fit_transform(FittingRows.of(rows()), 2))


def test_it_is_a_module_whose_parameters_are_its_tables(codec: Codec) -> None:
    names = {name.partition(".")[0] for name, _ in TrainableCode(codec).named_parameters()}
    assert names == {"matrix", "centroids", "points"} and isinstance(TrainableCode(codec), nn.Module)
