# SPDX-License-Identifier: Apache-2.0
"""The streamed loss against the formula: values, both gradients, transforms and memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.contrastive import formula, one_set, require_batched_views
from torch import Tensor
from torch.testing import assert_close

from lightning_monocon.kernels.supcon.options import Options
from lightning_monocon.kernels.supcon.positives import anchor_terms, class_ids

# rows, dimensions, classes, temperature: primes, one off powers of two, one class, all distinct, small temperatures
CASES = [(2, 5, 1, 0.1), (31, 7, 4, 1.0), (33, 8, 33, 0.05), (64, 3, 1, 0.1), (65, 33, 9, 0.07), (40, 16, 6, 0.01)]


# torch's own forward mode compiles its decompositions with a call that it has deprecated


def batch(rows: int, dim: int, classes: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(rows * 1000 + dim)
    embeddings = torch.randn(rows, dim, generator=generator, dtype=torch.float64) * 3
    return embeddings.to(dtype), torch.randint(-classes // 2, classes - classes // 2, (rows,), generator=generator)


def gradients(loss: Tensor, inputs: tuple[Tensor, ...], upstream: float = -1.7) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss * upstream, inputs, allow_unused=True, materialize_grads=True)


@pytest.mark.parametrize("ignore_index", [None, 0], ids=["all", "ignore"])
@pytest.mark.parametrize("singletons", ["zero", "skip"])
@pytest.mark.parametrize("block_size", [1, 16, 512], ids=lambda b: f"block{b}")
@pytest.mark.parametrize(("rows", "dim", "classes", "temperature"), CASES, ids=lambda v: str(v))
def test_loss_and_gradients_equal_formula(
    rows: int, dim: int, classes: int, temperature: float, block_size: int, singletons: str, ignore_index: int | None
) -> None:
    embeddings, labels = batch(rows, dim, classes)
    inputs = embeddings.requires_grad_(), torch.tensor(temperature, dtype=torch.float64, requires_grad=True)
    rule = {"singletons": singletons, "ignore_index": ignore_index}
    actual = one_set(inputs[0], labels, inputs[1], block_size=block_size, **rule)
    expected = formula(inputs[0], labels, inputs[1], **rule)
    assert_close(actual, expected, rtol=1e-12, atol=1e-12)
    assert_close(gradients(actual, inputs), gradients(expected, inputs), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("rows", "dim", "classes", "temperature"), CASES[1:], ids=lambda v: str(v))
def test_float32_is_close_to_formula(rows: int, dim: int, classes: int, temperature: float) -> None:
    embeddings, labels = batch(rows, dim, classes, torch.float32)
    actual = one_set(embeddings.requires_grad_(), labels, temperature)
    expected = formula(embeddings, labels, temperature)
    assert actual.dtype == torch.float32
    assert_close(actual.double(), expected, rtol=1e-6, atol=1e-6)
    wanted = gradients(expected, (embeddings,))[0]
    error = (gradients(actual, (embeddings,))[0] - wanted).norm() / wanted.norm().clamp_min(1e-6)
    assert error < 1e-5


@pytest.mark.parametrize("temperature", [0.1, 0.01], ids=["one exponential", "running"])
@pytest.mark.parametrize("normalize", [True, False], ids=["unit", "raw"])
def test_gradcheck(temperature: float, normalize: bool) -> None:
    embeddings, labels = batch(9, 4, 3)
    embeddings = embeddings / 10
    scale = torch.tensor(temperature, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x, t: one_set(x, labels, t, normalize=normalize, block_size=4),
        (embeddings.requires_grad_(), scale),
        check_forward_ad=True,
    )


def test_raw_inner_products_beyond_float32_stay_finite() -> None:
    embeddings, labels = batch(20, 6, 3, torch.float32)
    embeddings.requires_grad_()  # logits reach 1000, where float32 is exact to 6e-5
    actual, expected = (f(embeddings, labels, 0.05, normalize=False) for f in (one_set, formula))
    assert_close(actual.double(), expected, rtol=1e-6, atol=0)
    mine, wanted = (gradients(loss, (embeddings,))[0] for loss in (actual, expected))
    assert (mine - wanted).norm() < 1e-4 * wanted.norm()


@pytest.mark.parametrize("layout", ["transposed", "every second", "offset", "expanded"])
def test_strided_inputs(layout: str) -> None:
    embeddings, labels = batch(24, 24, 4)
    views = {
        "transposed": (embeddings.T, labels),
        "every second": (embeddings[::2, ::2], labels[::2]),
        "offset": (embeddings[3:, 5:], labels[3:]),
        "expanded": (embeddings[:1].expand(24, 24), labels),
    }
    x, y = views[layout]
    x = x.detach().requires_grad_()
    actual, expected = one_set(x, y, 0.1), formula(x, y, 0.1)
    assert_close(actual, expected)
    assert_close(gradients(actual, (x,)), gradients(expected, (x,)))


def test_normalized_temperature_cross_entropy() -> None:
    views, _ = batch(26, 12, 2)
    unit = torch.nn.functional.normalize(views, dim=1)
    logits = (unit @ unit.T / 0.2).fill_diagonal_(-torch.inf)
    partner = torch.arange(26).roll(13)
    actual = one_set(views, torch.arange(13).repeat(2), 0.2)
    assert_close(actual, torch.nn.functional.cross_entropy(logits, partner))


def test_order_scale_and_names_of_classes_do_not_matter() -> None:
    embeddings, labels = batch(50, 9, 5)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(1))
    loss = one_set(embeddings, labels, 0.1)
    assert_close(one_set(embeddings[order], labels[order], 0.1), loss)
    assert_close(one_set(embeddings * torch.linspace(0.1, 9, 50).unsqueeze(1), labels, 0.1), loss)
    assert_close(one_set(embeddings, labels * -(2**40) + 3, 0.1), loss)
    assert_close(one_set(embeddings, (labels + 9).to(torch.uint8), 0.1), loss)


def test_every_second_derivative_raises() -> None:
    embeddings, labels = batch(8, 3, 2)
    (first,) = torch.autograd.grad(one_set(embeddings.requires_grad_(), labels), embeddings, create_graph=True)
    with pytest.raises(RuntimeError, match="has no second derivative"):
        first.pow(2).sum().backward()


def test_function_transforms() -> None:
    embeddings, labels = batch(12, 5, 3)

    def loss(x: Tensor) -> Tensor:
        return one_set(x, labels, 0.1)

    gradient = gradients(loss(embeddings.requires_grad_()), (embeddings,), 1.0)[0]
    embeddings = embeddings.detach()
    assert_close(torch.func.grad(loss)(embeddings), gradient)
    tangent = embeddings.flip(0)
    assert_close(torch.func.jvp(loss, (embeddings,), (tangent,))[1], (gradient * tangent).sum())
    require_batched_views()
    pair = torch.stack([embeddings, embeddings.flip(1)])
    assert_close(torch.func.vmap(loss)(pair), torch.stack([loss(x) for x in pair]))
    assert_close(torch.func.vmap(torch.func.grad(loss))(pair)[0], gradient)


def test_nobody_writes_into_the_inputs() -> None:
    embeddings, labels = batch(20, 5, 3)
    before, named = embeddings.clone(), labels.clone()
    gradients(one_set(embeddings.requires_grad_(), labels, normalize=False), (embeddings,))
    assert_close(embeddings.detach(), before, rtol=0, atol=0)
    assert_close(labels, named)


def test_two_runs_are_bit_equal() -> None:
    embeddings, labels = batch(200, 16, 7, torch.float32)
    runs = [gradients(one_set(embeddings.requires_grad_(), labels, block_size=64), (embeddings,))[0] for _ in range(2)]
    assert_close(runs[0], runs[1], rtol=0, atol=0)


def test_class_ids_and_anchor_terms() -> None:
    assert class_ids(torch.tensor([5, -1, 5, 2, -1])).tolist() == [2, 0, 2, 1, 0]
    assert class_ids(torch.empty(0, dtype=torch.int64)).tolist() == []
    rows = torch.tensor([[1.0], [2.0], [4.0], [8.0]])
    terms = anchor_terms(rows, torch.tensor([0, 1, 0, 0]), slice(1, 4), Options(singletons="skip"))
    assert_close(terms.mean_positive, torch.tensor([[0.0], [4.5], [2.5]]))
    assert_close(terms.weight, torch.tensor([0.0, 1 / 3, 1 / 3]))


MEASURE = """
import re, torch
from lightning_monocon.kernels.supcon import supcon

def status(key):
    return int(re.search(key + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024

def step(rows):
    x = torch.randn(rows, 128, requires_grad=True)
    y = torch.randint(100, (rows,))
    open("/proc/self/clear_refs", "w").write("5")  # forget the peak so far
    before = status("VmRSS")
    supcon(x, y, 0.1).backward()
    return status("VmHWM") - before

step(600)
print(step(8192))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc")
def test_peak_memory_is_not_quadratic() -> None:
    run = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)
    megabytes = float(run.stdout)
    assert megabytes < 100, f"8192 rows took {megabytes:.0f} MB; one matrix of all pairs is 256 MB"
