# SPDX-License-Identifier: Apache-2.0
"""The Triton kernels against the formula: every variant, hostile shapes, NaN in what they do not write."""

from __future__ import annotations

import pytest
import torch
from helpers.contrastive import formula, one_set
from oracles.supcon import rounding
from torch import Tensor
from torch.testing import assert_close

from lightning_monocon.kernels.supcon import shapes

pytestmark = [
    pytest.mark.usefixtures("poisoned"),
    # the interpreter's numpy warns of pairs beyond the last row and of a row with itself, which a mask then drops
    pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning"),
]

# rows, dimensions, classes, temperature: primes and one off the tile of 16; one class; all distinct
SHAPES = [(1, 3, 1, 0.1), (2, 16, 1, 0.5), (17, 31, 3, 0.07), (33, 7, 33, 0.05), (48, 33, 1, 0.1), (53, 40, 6, 0.02)]
# relative error of the gradient; float16 rounds cosines to 2^-11, which T = 0.02 turns into 2 % of a weight
TOLERANCE = {"ieee": 5e-6, "bf16x3": 1e-4, "tf32": 5e-3, "fp16": 5e-3}


def batch(rows: int, dim: int, classes: int, device: torch.device) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(rows * 1000 + dim)
    embeddings = torch.randn(rows, dim, generator=generator) * 3
    labels = torch.randint(-classes // 2, classes - classes // 2, (rows,), generator=generator) * 2**33
    return embeddings.to(device).requires_grad_(), labels.to(device)


def gradients(loss: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss * -1.7, inputs, allow_unused=True, materialize_grads=True)


def assert_agrees(embeddings: Tensor, labels: Tensor, temperature: float, tolerance: float, **rules: object) -> None:
    """Compare loss, gradient and the gradient of the temperature with the formula's."""
    scale = torch.tensor(temperature, device=embeddings.device, requires_grad=True)
    actual = one_set(embeddings, labels, scale, backend="triton", **rules)
    kept = {name: rules[name] for name in ("normalize", "singletons", "ignore_index") if name in rules}
    twins = [x.detach().cpu().double().requires_grad_() for x in (embeddings, scale)]
    expected = formula(twins[0], labels.cpu(), twins[1], **kept)
    assert actual.dtype == torch.float32
    assert_close(actual.cpu().double(), expected, rtol=tolerance / 5, atol=tolerance / 5)
    found = gradients(actual, embeddings, scale)
    _, of_rows, _, of_scale = rounding(embeddings, None, (labels, labels), temperature, rules.get("normalize", True))
    for mine, wanted, lost in zip(found, gradients(expected, *twins), (of_rows, of_scale), strict=True):
        assert mine.isfinite().all()
        error, allowed = (mine.cpu().double() - wanted).norm(), tolerance * wanted.norm() + 1.7 * lost
        assert error <= allowed, f"off by {error:.1e} where rounding explains {allowed:.1e}"


@pytest.mark.parametrize("precision", ["ieee", "fp16"])
@pytest.mark.parametrize("rule", ["labels", "class sums", "ignore", "skip"])
@pytest.mark.parametrize(("rows", "dim", "classes", "temperature"), SHAPES, ids=str)
def test_kernels_equal_formula(
    rows: int, dim: int, classes: int, temperature: float, rule: str, precision: str,
    kernel_device: torch.device, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(shapes, "COMPARE_UP_TO", 2048 if rule == "labels" else 0)
    embeddings, labels = batch(rows, dim, classes, kernel_device)
    rules = {"ignore": {"ignore_index": 0, "singletons": "skip"}, "skip": {"singletons": "skip"}}.get(rule, {})
    assert_agrees(embeddings, labels, temperature, TOLERANCE[precision], precision=precision, **rules)


@pytest.mark.parametrize("precision", ["bf16x3", "tf32"])
def test_other_float32_products(precision: str, kernel_device: torch.device) -> None:
    """The interpreter multiplies exactly whatever it is told: there this checks the way, on a card the digits."""
    assert_agrees(*batch(40, 24, 5, kernel_device), 0.1, TOLERANCE[precision], precision=precision)


@pytest.mark.parametrize("compare_up_to", [0, 2048], ids=["class sums", "labels"])
def test_fixed_temperature_takes_one_exponential(
    compare_up_to: int, kernel_device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shapes, "COMPARE_UP_TO", compare_up_to)
    embeddings, labels = batch(37, 20, 4, kernel_device)
    fixed = one_set(embeddings, labels, 0.1, backend="triton", precision="ieee")
    learnt = one_set(embeddings, labels, torch.tensor(0.01).to(kernel_device) * 10, backend="triton", precision="ieee")
    assert_close(fixed, learnt, rtol=1e-6, atol=0)
    assert_close(gradients(fixed, embeddings), gradients(learnt, embeddings), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("temperature", [2.0, 0.2], ids=str)
def test_rows_that_are_not_unit(temperature: float, kernel_device: torch.device) -> None:
    embeddings, labels = batch(21, 9, 3, kernel_device)
    assert_agrees(embeddings, labels, temperature, 2e-5, normalize=False, precision="ieee")


def test_backward_in_several_chunks(kernel_device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    from lightning_monocon.kernels.supcon import launch

    monkeypatch.setattr(launch, "CHUNK_BYTES", 16)
    assert_agrees(*batch(53, 12, 4, kernel_device), 0.1, 5e-6, precision="ieee")


@pytest.mark.parametrize("rule", ["labels", "class sums", "ignore"])
@pytest.mark.parametrize("temperature", [0.1, 0.02])
def test_forward_in_several_turns(
    temperature: float, rule: str, kernel_device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightning_monocon.kernels.supcon import launch

    monkeypatch.setattr(launch, "SLOT_BYTES", 16)
    monkeypatch.setattr(shapes, "COMPARE_UP_TO", 2048 if rule == "labels" else 0)
    rules = {"ignore_index": 0, "singletons": "skip"} if rule == "ignore" else {}
    assert_agrees(*batch(53, 12, 4, kernel_device), temperature, 5e-6, precision="ieee", **rules)


@pytest.mark.parametrize("layout", ["transposed", "every second", "expanded"])
def test_strided_inputs(layout: str, kernel_device: torch.device) -> None:
    embeddings, labels = batch(24, 24, 4, kernel_device)
    views = {"transposed": embeddings.T, "every second": embeddings[:, ::2], "expanded": embeddings[:1].expand(24, 24)}
    view = views[layout].detach().requires_grad_()
    assert_agrees(view, labels, 0.1, 5e-6, precision="ieee")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_embeddings(dtype: torch.dtype, kernel_device: torch.device) -> None:
    embeddings, labels = batch(24, 10, 4, kernel_device)
    half = embeddings.detach().to(dtype).requires_grad_()
    found = gradients(one_set(half, labels, 0.1, backend="triton"), half)[0]
    wide = half.detach().cpu().double().requires_grad_()
    wanted = gradients(formula(wide, labels.cpu(), 0.1), wide)[0]
    assert found.dtype == dtype
    # A gradient in bfloat16 keeps eight bits. The interpreter's own fault, a `tl.dot` that multiplies the raw bits of
    # bfloat16, is out of the way: tiles are float16 or float32 whatever the embeddings are.
    assert (found.cpu().double() - wanted).norm() < 5e-3 * wanted.norm()


@pytest.mark.parametrize("precision", ["ieee", "fp16"])
def test_zero_rows_are_left_as_they_are(precision: str, kernel_device: torch.device) -> None:
    embeddings, labels = batch(20, 8, 3, kernel_device)
    embeddings = embeddings.detach().clone()
    embeddings[::5] = 0
    embeddings.requires_grad_()
    found = gradients(one_set(embeddings, labels, 0.5, backend="triton", precision=precision), embeddings)[0]
    wanted = gradients(one_set(embeddings, labels, 0.5, backend="torch"), embeddings)[0]
    assert (found - wanted).norm() < TOLERANCE[precision] * wanted.norm()


@pytest.mark.parametrize("precision", ["ieee", "fp16"])
@pytest.mark.parametrize("dim", [9, 1030], ids=["one block", "two blocks"])
def test_rows_of_any_magnitude_are_the_same_bits(dim: int, precision: str, kernel_device: torch.device) -> None:
    embeddings, labels = batch(20, dim, 3, kernel_device)
    powers = torch.linspace(-90, 90, 20).round()[:, None]
    factors = torch.exp2(powers.double()).float().to(kernel_device)
    huge = (embeddings.detach() * factors).requires_grad_()
    losses = [one_set(rows, labels, 0.5, backend="triton", precision=precision) for rows in (embeddings, huge)]
    assert_close(losses[1], losses[0], rtol=0, atol=0)
    wanted, found = gradients(losses[0], embeddings)[0], gradients(losses[1], huge)[0]
    assert_close(found * factors, wanted, rtol=0, atol=0)


@pytest.mark.parametrize("rows", [0, 1])
def test_nothing_to_contrast(rows: int, kernel_device: torch.device) -> None:
    embeddings = torch.ones(rows, 3, device=kernel_device, requires_grad=True)
    loss = one_set(embeddings, torch.zeros(rows, dtype=torch.long, device=kernel_device), 0.1, backend="triton")
    assert loss.item() == 0.0
    assert not gradients(loss, embeddings)[0].any()


def test_singletons_can_be_refused(kernel_device: torch.device) -> None:
    embeddings, _ = batch(4, 3, 1, kernel_device)
    labels = torch.tensor([3, 3, 8, 5], device=kernel_device)
    with pytest.raises(ValueError, match=r"2 of 4 rows are alone in their class \(label 8 is the first\)"):
        one_set(embeddings, labels, 0.1, singletons="error", backend="triton")
    labels = torch.tensor([0, 4, 4, 0], device=kernel_device)
    loss = one_set(embeddings, labels, 0.1, singletons="error", ignore_index=0, backend="triton", precision="ieee")
    assert_close(
        loss.cpu().double(), formula(embeddings.detach().cpu(), labels.cpu(), 0.1, ignore_index=0), atol=1e-6, rtol=0
    )


def test_two_runs_are_bit_equal(kernel_device: torch.device) -> None:
    embeddings, labels = batch(50, 16, 5, kernel_device)
    runs = [gradients(one_set(embeddings, labels, 0.1, backend="triton"), embeddings)[0] for _ in range(2)]
    assert_close(runs[0], runs[1], rtol=0, atol=0)


@pytest.mark.parametrize("bounded", [True, False], ids=["one exponential", "running"])
def test_two_different_sets(bounded: bool, kernel_device: torch.device) -> None:
    """Anchors against other rows, a gradient for each side: z as anchors (ROW), then rows as contrast (COL)."""
    from lightning_monocon.kernels.supcon.launch import Pairs, Variant, Weights, add_gradient, statistics

    generator = torch.Generator().manual_seed(0)
    sides = [torch.nn.functional.normalize(torch.randn(n, 12, generator=generator), dim=1) for n in (19, 35)]
    ids = [torch.arange(n, dtype=torch.int32) % 4 for n in (19, 35)]
    temperature = torch.tensor(0.2)
    z, rows, z_ids, row_ids, scale = (x.to(kernel_device) for x in (*sides, *ids, temperature))
    variant = Variant(labels=True, ignore=False, bounded=bounded)
    found = statistics(Pairs(z, rows, z_ids, row_ids, scale, len(rows), variant))

    twins = [side.double().requires_grad_() for side in sides]
    logits = twins[0] @ twins[1].T / temperature.double()
    same = ids[0][:, None] == ids[1][None]
    losses = logits.logsumexp(1) - (logits * same).sum(1) / same.sum(1)
    assert_close(found.loss.cpu().double(), losses, rtol=1e-5, atol=1e-5)

    wanted = torch.autograd.grad(losses.sum(), twins)
    by_z, by_rows = torch.zeros_like(z), torch.zeros_like(rows)
    nobody = torch.full((len(rows),), 0.0 if bounded else float("inf"), device=kernel_device)
    add_gradient(
        Pairs(z, rows, z_ids, row_ids, scale, len(rows), variant),
        Weights(found.scale, nobody, found.share, 1.0, roles=(True, False)),
        by_z,
    )
    assert_close(by_z.cpu().double() / temperature, wanted[0], rtol=1e-4, atol=1e-5)
    # a row's pull is the share of the anchor, and anchors of one class share one
    share = torch.zeros(4, device=kernel_device).index_put_((z_ids.long(),), found.share)[row_ids.long()]
    add_gradient(
        Pairs(rows, z, row_ids, z_ids, scale, len(z), variant),
        Weights(nobody, found.scale, share, 1.0, roles=(False, True)),
        by_rows,
    )
    assert_close(by_rows.cpu().double() / temperature, wanted[1], rtol=1e-4, atol=1e-5)
