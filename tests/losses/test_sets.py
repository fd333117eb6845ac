# SPDX-License-Identifier: Apache-2.0
"""The loss as a user meets it: agreement with the paper's code, precision, edges and every refusal."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from oracles.supcon import cross_supcon as cross_oracle
from oracles.supcon import reference_code
from oracles.supcon import supcon as oracle
from torch import Tensor, nn
from torch.testing import assert_close

from lightning_monocon.losses import CompatibilityLoss, CrossSupConLoss, NestedSupConLoss, SupConLoss, nested_dims


def batch(rows: int = 48, dim: int = 16, classes: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(rows)
    return torch.randn(rows, dim, generator=generator), torch.randint(classes, (rows,), generator=generator)


@pytest.mark.parametrize(("rows", "dim", "classes"), [(256, 512, 100), (256, 384, 128), (48, 16, 5)], ids=str)
def test_agrees_with_the_published_code(rows: int, dim: int, classes: int) -> None:
    embeddings, labels = batch(rows, dim, classes)
    embeddings.requires_grad_()
    ours, theirs = SupConLoss(0.1)(embeddings, labels), reference_code(embeddings, labels, 0.1)
    assert_close(ours, theirs, rtol=1e-5, atol=0)
    upstream = torch.tensor(-0.3)
    mine, other = (torch.autograd.grad(loss, embeddings, upstream)[0] for loss in (ours, theirs))
    assert (mine - other).norm() <= 1e-5 * other.norm()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_input_is_computed_in_float32(dtype: torch.dtype) -> None:
    embeddings, labels = batch()
    half = embeddings.to(dtype).requires_grad_()
    loss = SupConLoss()(half, labels)
    loss.backward()
    assert (loss.dtype, half.grad.dtype) == (torch.float32, dtype)
    assert_close(loss.double(), oracle(half.detach(), labels), rtol=1e-6, atol=0)


def test_autocast_changes_nothing() -> None:
    embeddings, labels = batch()
    embeddings.requires_grad_()
    plain = torch.autograd.grad(SupConLoss()(embeddings, labels), embeddings)[0]
    with torch.autocast("cpu", torch.bfloat16):
        loss = SupConLoss()(embeddings, labels)
        inside = torch.autograd.grad(loss, embeddings)[0]
    assert loss.dtype == torch.float32
    assert_close(inside, plain, rtol=0, atol=0)


def test_double_stays_double() -> None:
    embeddings, labels = batch()
    assert SupConLoss()(embeddings.double(), labels).dtype == torch.float64


@pytest.mark.parametrize("singletons", ["zero", "skip"])
@pytest.mark.parametrize(("rows", "classes"), [(0, 1), (1, 1), (6, 0)], ids=["empty", "one row", "all distinct"])
def test_nothing_to_pull_gives_zero(rows: int, classes: int, singletons: str) -> None:
    embeddings = torch.randn(rows, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = SupConLoss(singletons=singletons)(embeddings, torch.arange(rows))
    loss.backward()
    assert loss.item() == 0.0
    assert_close(embeddings.grad, torch.zeros(rows, 4), rtol=0, atol=0)


def test_everything_ignored_gives_zero() -> None:
    embeddings, labels = batch()
    loss = SupConLoss(ignore_index=3)(embeddings.requires_grad_(), torch.full_like(labels, 3))
    loss.backward()
    assert loss.item() == 0.0
    assert not embeddings.grad.any()


def test_ignored_rows_get_no_gradient() -> None:
    embeddings, labels = batch()
    SupConLoss(ignore_index=2)(embeddings.requires_grad_(), labels).backward()
    assert not embeddings.grad[labels == 2].any()
    assert embeddings.grad[labels != 2].any(1).all()


def test_temperature_is_learnt() -> None:
    embeddings, labels = batch()
    loss = SupConLoss(nn.Parameter(torch.tensor(0.1)))
    loss(embeddings, labels).backward()
    temperature = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    oracle(embeddings, labels, temperature).backward()
    assert [name for name, _ in loss.named_parameters()] == ["temperature"]
    assert_close(loss.temperature.grad.double(), temperature.grad, rtol=1e-5, atol=0)


def test_copies_pickles_and_shows_itself() -> None:
    embeddings, labels = batch()
    loss = SupConLoss(0.2, singletons="skip", ignore_index=-1)
    for twin in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert_close(twin(embeddings, labels), loss(embeddings, labels), rtol=0, atol=0)
    assert repr(loss) == "SupConLoss(temperature=0.2, normalize=True, singletons='skip')"
    assert not loss.state_dict()


def test_function_transforms_through_the_module() -> None:
    embeddings, labels = batch(8, 3, 2)
    loss = SupConLoss()
    gradient = torch.func.grad(loss)(embeddings, labels)
    assert_close(gradient, torch.autograd.grad(loss(embeddings.requires_grad_(), labels), embeddings)[0])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"temperature": 0.0}, "`temperature` must be positive and finite; got 0"),
        ({"temperature": float("nan")}, "`temperature` must be positive and finite; got nan"),
        (
            {"temperature": torch.ones(2)},
            r"`temperature` must be a number or a floating 0-d tensor; got .* shape \(2,\)",
        ),
        ({"temperature": torch.tensor(-1.0)}, "`temperature` must be positive and finite; got -1"),
        ({"singletons": "drop"}, "`singletons` must be one of 'zero', 'skip', 'error'; got 'drop'"),
        ({"backend": "cuda"}, "`backend` must be one of 'auto', 'triton', 'torch'; got 'cuda'"),
        ({"block_size": 0}, "`block_size` must be at least 1, or None to let the device decide; got 0"),
    ],
    ids=lambda v: str(v)[:40],
)
def test_constructor_refuses(arguments: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        SupConLoss(**arguments)


ROWS = torch.eye(4)


@pytest.mark.parametrize(
    ("embeddings", "labels", "error", "sentence"),
    [
        (ROWS[0], torch.zeros(4, dtype=torch.long), ValueError, r"`embeddings` must be \(N, D\) .* got shape \(4,\)"),
        (ROWS[:, :0], torch.zeros(4, dtype=torch.long), ValueError, r"with D at least 1; got shape \(4, 0\)"),
        (ROWS.long(), torch.zeros(4, dtype=torch.long), TypeError, "`embeddings` must be floating; got torch.int64"),
        (ROWS, torch.arange(3), ValueError, r"`labels` must hold 4 integers, one per embedding; got shape \(3,\)"),
        (ROWS, torch.eye(4).long(), ValueError, r"one per embedding; got shape \(4, 4\)"),
        (ROWS, torch.zeros(4), TypeError, r"`labels` must be integers; got torch.float32. Cast .* `.long\(\)`"),
        (ROWS, torch.zeros(4, dtype=torch.bool), TypeError, "`labels` must be integers; got torch.bool"),
        (ROWS, torch.arange(4, device="meta"), ValueError, "on the embeddings' device, cpu; got meta"),
        (ROWS / 0, torch.arange(4), ValueError, r"4 of 4 rows hold NaN or infinity \(row 0 is the first\)"),
        (ROWS[:, :3], torch.arange(4), ValueError, r"1 of 4 rows do not \(row 3 is the first\)"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_forward_refuses(embeddings: Tensor, labels: Tensor, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        SupConLoss()(embeddings, labels)


def test_zero_rows_are_fine_without_normalisation() -> None:
    assert SupConLoss(normalize=False)(ROWS[:, :3], torch.tensor([0, 0, 1, 1])).isfinite()


def test_singletons_can_be_refused() -> None:
    with pytest.raises(ValueError, match=r"2 of 4 rows are alone in their class \(label 7 is the first\)"):
        SupConLoss(singletons="error")(ROWS, torch.tensor([0, 7, 0, 9]))
    assert SupConLoss(singletons="error")(ROWS, torch.tensor([0, 7, 0, 7])).isfinite()


def test_a_temperature_that_became_negative_is_named() -> None:
    loss = SupConLoss(nn.Parameter(torch.tensor(0.1)))
    with torch.no_grad():
        loss.temperature.sub_(1.0)
    with pytest.raises(ValueError, match=r"`temperature` must be positive and finite; got -0\.9"):
        loss(ROWS, torch.tensor([0, 0, 1, 1]))


def test_two_sets_agree_with_the_formula_and_learn_their_temperature() -> None:
    anchors, labels = batch(30)
    contrast, others = batch(41)
    loss = CrossSupConLoss(nn.Parameter(torch.tensor(0.2)), singletons="skip", ignore_index=1)
    sides = anchors.requires_grad_(), contrast.requires_grad_()
    mine = loss(*sides, labels, others)
    temperature = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    exact = cross_oracle(*sides, (labels, others), temperature, singletons="skip", ignore_index=1)
    assert_close(mine.double(), exact, rtol=1e-6, atol=0)
    found = torch.autograd.grad(mine, (*sides, loss.temperature))
    wanted = torch.autograd.grad(exact, (*sides, temperature))
    for a, b in zip(found, wanted, strict=True):
        assert_close(a.double(), b.double(), rtol=1e-4, atol=1e-7)
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(loss(*sides, labels, others), mine, rtol=0, atol=0)
    assert repr(loss) == "CrossSupConLoss(temperature=learnt, normalize=True, singletons='skip')"
    assert CrossSupConLoss()(anchors.double(), contrast.double(), labels, others).dtype == torch.float64


FOUR = torch.arange(4)


@pytest.mark.parametrize(
    ("inputs", "error", "sentence"),
    [
        ((ROWS[0], ROWS, FOUR, FOUR), ValueError, r"`anchors` must be \(N, D\) .* got shape \(4,\)"),
        ((ROWS, ROWS.long(), FOUR, FOUR), TypeError, "`contrast` must be floating; got torch.int64"),
        ((ROWS, ROWS, FOUR[:3], FOUR), ValueError, r"`anchor_labels` must hold 4 integers.* got shape \(3,\)"),
        ((ROWS, ROWS, FOUR, FOUR.float()), TypeError, "`contrast_labels` must be integers; got torch.float32"),
        ((ROWS, ROWS[:, :3], FOUR, FOUR), ValueError, r"`contrast` must have the anchors' 4 dimensions; .*\(4, 3\)"),
        (
            (ROWS, ROWS.to("meta"), FOUR, FOUR.to("meta")),
            ValueError,
            "`contrast` .* the anchors' device, cpu; got meta",
        ),
        ((ROWS, ROWS / 0, FOUR, FOUR), ValueError, "`contrast` must be finite; 4 of 4 rows"),
        ((ROWS * 0, ROWS, FOUR, FOUR), ValueError, "`anchors` must have a length above zero"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_two_sets_refuse(inputs: tuple[Tensor, ...], error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        CrossSupConLoss()(*inputs)


def scaled_alone(rows: Tensor, widest: int) -> tuple[Tensor, Tensor]:
    """Return rows, each multiplied by a power of two of its own, and these: directions stay to the last bit."""
    powers = torch.randint(-widest, widest, (len(rows), 1), generator=torch.Generator().manual_seed(3))
    powers[:2] = torch.tensor([[-widest], [widest]])
    factors = torch.pow(torch.tensor(2.0, dtype=torch.float64), powers).to(rows.dtype)
    return rows.detach() * factors, factors


@pytest.mark.parametrize(("dtype", "widest"), [(torch.float32, 90), (torch.float64, 900)], ids=str)
@pytest.mark.parametrize("loss", [SupConLoss(), SupConLoss(0.01), NestedSupConLoss()], ids=repr)
def test_rows_of_any_magnitude_have_one_loss_and_one_gradient(loss: nn.Module, dtype: torch.dtype, widest: int) -> None:
    embeddings, labels = batch()
    rows = embeddings.to(dtype).requires_grad_()
    huge, factors = scaled_alone(rows, widest)
    expected, found = loss(rows, labels), loss(huge.requires_grad_(), labels)
    assert_close(found, expected, rtol=0, atol=0)
    gradient, scaled = (torch.autograd.grad(value, x)[0] for value, x in ((expected, rows), (found, huge)))
    assert gradient.abs().max() > 1e-4
    assert_close(scaled * factors, gradient, rtol=0, atol=0)


@pytest.mark.parametrize(("dtype", "widest"), [(torch.float32, 90), (torch.float64, 900)], ids=str)
@pytest.mark.parametrize("count", [40, 300], ids=["formula", "operator"])
def test_two_sets_of_any_magnitude_have_one_loss_and_one_gradient(count: int, dtype: torch.dtype, widest: int) -> None:
    sides = [side.to(dtype).requires_grad_() for side in (batch(count)[0], batch(count + 9)[0])]
    labels = batch(count)[1], batch(count + 9)[1]
    huge, factors = zip(*(scaled_alone(side, widest) for side in sides), strict=True)
    loss = CrossSupConLoss()
    expected, found = loss(*sides, *labels), loss(*(side.requires_grad_() for side in huge), *labels)
    assert_close(found, expected, rtol=0, atol=0)
    gradients = zip(torch.autograd.grad(expected, sides), torch.autograd.grad(found, huge), factors, strict=True)
    for gradient, scaled, factor in gradients:
        assert_close(scaled * factor, gradient, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_ordinary_rows_are_normalised_as_torch_does_it(dtype: torch.dtype) -> None:
    embeddings, labels = batch()
    rows = embeddings.to(dtype).requires_grad_()
    unit = nn.functional.normalize(rows, dim=1)
    expected, found = SupConLoss(normalize=False)(unit, labels), SupConLoss()(rows, labels)
    gradients = [torch.autograd.grad(value, rows)[0] for value in (expected, found)]
    assert_close(found, expected, rtol=1e-6, atol=0)  # tiles of unit rows take one exponential, of others two
    assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("size", [0.0, torch.finfo(torch.float32).tiny / 8], ids=["zeros", "subnormal"])
def test_rows_without_a_direction_are_named(size: float) -> None:
    rows = ROWS.clone()
    rows[2] *= size / rows[2].abs().max()
    with pytest.raises(ValueError, match=r"a length above zero to be normalised; 1 of 4 rows do not \(row 2 is the"):
        SupConLoss()(rows, FOUR)
    rows[2, 0] = torch.finfo(torch.float32).tiny
    assert SupConLoss()(rows, FOUR // 2).isfinite()


def test_the_loss_is_the_mean_over_prefixes() -> None:
    embeddings, labels = batch(40, 20)
    rows = embeddings.double().requires_grad_()
    expected = sum(oracle(rows[:, :k], labels, 0.2) for k in (4, 8, 16, 20)) / 4
    embeddings.requires_grad_()
    found = NestedSupConLoss(0.2)(embeddings, labels)
    assert_close(found.double(), expected, rtol=1e-6, atol=0)
    upstream = torch.tensor(-0.7)
    mine = torch.autograd.grad(found, embeddings, upstream)[0]
    truth = torch.autograd.grad(expected, rows, upstream.double())[0]
    assert (mine.double() - truth).norm() <= 1e-5 * truth.norm()


def test_one_prefix_of_full_width_is_the_plain_loss() -> None:
    embeddings, labels = batch(40, 20)
    assert_close(NestedSupConLoss(0.1, dims=[20])(embeddings, labels), SupConLoss(0.1)(embeddings, labels))


def test_the_numbers_behind_a_prefix_do_not_reach_it() -> None:
    embeddings, labels = batch(40, 20)
    embeddings.requires_grad_()
    (gradient,) = torch.autograd.grad(NestedSupConLoss(dims=[4, 8])(embeddings, labels), embeddings)
    assert gradient[:, :8].abs().amin(0).gt(0).all()
    assert not gradient[:, 8:].any()


@pytest.mark.parametrize(("width", "dims"), [(3, (3,)), (4, (4,)), (5, (4, 5)), (128, (4, 8, 16, 32, 64, 128))])
def test_default_prefixes_end_at_the_width(width: int, dims: tuple[int, ...]) -> None:
    assert nested_dims(width) == dims


@pytest.mark.parametrize("dims", [[], [8, 4], [4, 4], [0, 4]], ids=str)
def test_prefixes_that_are_no_nest_are_refused(dims: list[int]) -> None:
    with pytest.raises(ValueError, match=r"`dims` must be increasing numbers of dimensions from 1 on, got \["):
        NestedSupConLoss(dims=dims)


def test_what_a_batch_breaks_is_named() -> None:
    embeddings, labels = batch(40, 20)
    with pytest.raises(ValueError, match=r"`dims` must not exceed the embeddings' 20 dimensions, got \[4, 32\]"):
        NestedSupConLoss(dims=[4, 32])(embeddings, labels)
    with pytest.raises(ValueError, match=r"`embeddings` must be \(N, D\) with D at least 1; got shape \(40,\)"):
        NestedSupConLoss()(embeddings[:, 0], labels)


def beside(rows: int = 24, width: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    """Return embeddings of 8 numbers, old rows of ``width``, and labels."""
    embeddings, labels = batch(rows, 8, 4)
    return embeddings.double(), batch(rows, width + 8)[0][:, :width].double(), labels


@pytest.mark.parametrize(("match", "influence"), [(5.0, 1.0), (0.0, 2.0), (3.0, 0.0)])
def test_compatibility_is_its_two_terms_with_their_gradient(match: float, influence: float) -> None:
    embeddings, old, labels = beside()
    one, other = embeddings.clone().requires_grad_(), embeddings.clone().requires_grad_()
    ours = CompatibilityLoss(match, influence, temperature=0.2)(one, old, labels)
    unit = [part / part.norm(dim=1, keepdim=True) for part in (other[:, :5], old)]
    theirs = match * (1 - (unit[0] * unit[1]).sum() / 24)
    theirs = theirs + influence * cross_oracle(other[:, :5], old, (labels, labels), 0.2)
    assert_close(ours, theirs)
    mine, truth = (torch.autograd.grad(loss, part)[0] for loss, part in ((ours, one), (theirs, other)))
    assert_close(mine, truth)
    assert not mine[:, 5:].any(), "the additional numbers are free"


def test_rows_that_live_in_the_old_space_are_at_no_distance() -> None:
    embeddings, old, labels = beside()
    embeddings[:, :5] = 3 * old
    assert_close(CompatibilityLoss(5.0, 0.0)(embeddings, old, labels), torch.zeros((), dtype=torch.float64))
    assert CompatibilityLoss(5.0, 0.0)(-embeddings, old, labels).item() == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("old", "sentence"),
    [
        (
            torch.ones(24, 9),
            r"`old` must have a row .* got \(24, 9\) beside \(24, 8\). Take `out_features` of at least 9",
        ),
        (torch.ones(23, 5), r"`old` must have a row .* got \(23, 5\) beside \(24, 8\)"),
    ],
    ids=["wider", "fewer rows"],
)
def test_old_rows_that_do_not_fit_are_refused(old: Tensor, sentence: str) -> None:
    embeddings, _, labels = beside()
    with pytest.raises(ValueError, match=sentence):
        CompatibilityLoss()(embeddings, old, labels)


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(ValueError, match="`match` must not be negative, got -1"):
        CompatibilityLoss(-1.0)
