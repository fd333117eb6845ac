# SPDX-License-Identifier: Apache-2.0
"""Oracle: the chunks embedded with their graphs kept, and, where nothing is random, the batch embedded at once."""

from itertools import pairwise
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from lightning_monocon import MonotonicMLP, SupConLoss
from lightning_monocon.training.chunks import embed_in_chunks

ROWS, WIDTH = 17, 6


class Model(nn.Module):
    """An encoder with or without dropout or batch norm, and the monotonic head."""

    def __init__(self, *middle: nn.Module) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(WIDTH, 16), nn.Tanh(), *middle, nn.Linear(16, 8))
        self.head = MonotonicMLP(8)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.encoder(inputs))


def build(*middle: nn.Module, dtype: torch.dtype = torch.float64) -> Model:
    torch.manual_seed(0)
    return Model(*middle).to(dtype)


def data(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(ROWS, WIDTH, generator=generator, dtype=torch.float64).to(dtype)
    return inputs, torch.randint(4, (ROWS,), generator=generator)


def gradients(model: nn.Module, embeddings: Tensor, labels: Tensor) -> dict[str, Tensor | None]:
    model.zero_grad()
    loss = SupConLoss(0.2)(embeddings, labels)
    loss.backward()
    return {"loss": loss.detach()} | {name: value.grad for name, value in model.named_parameters()}


def chunked(model: Model, inputs: Any, size: int, rows: int = ROWS) -> Tensor:
    return embed_in_chunks(model, [model.encoder, model.head], inputs, rows, size)


def kept(model: Model, inputs: Tensor, size: int) -> Tensor:
    """The oracle: evenly cut, and every graph kept."""
    count = -(-ROWS // size)
    bounds = [ROWS * i // count for i in range(count + 1)]
    return torch.cat([model(inputs[a:b]) for a, b in pairwise(bounds)])


def flat(gradient: dict[str, Tensor | None]) -> Tensor:
    return torch.cat([value.double().flatten() for value in gradient.values()])


@pytest.mark.parametrize("size", [1, 3, 8, 16, 17, 99])
def test_loss_and_gradient_are_those_of_the_whole_batch(size: int) -> None:
    model = build()
    inputs, labels = data()
    whole = gradients(model, model(inputs), labels)
    for name, value in gradients(model, chunked(model, inputs, size), labels).items():
        torch.testing.assert_close(value, whole[name], rtol=1e-10, atol=1e-13, msg=name)


@pytest.mark.parametrize("size", [1, 3, 8, 16])
def test_in_float32_too(size: int) -> None:
    exact, model = build(), build(dtype=torch.float32)
    truth = gradients(exact, exact(data()[0]), data()[1])
    inputs, labels = data(torch.float32)
    whole = gradients(model, model(inputs), labels)
    found = gradients(model, chunked(model, inputs, size), labels)
    assert (flat(found) - flat(whole)).norm() <= 1e-6 * flat(whole).norm()
    for name, value in truth.items():  # biases nearly cancel: there the whole batch is off by 5e-5 itself
        scale = value.abs().max()
        errors = [(each[name] - value).abs().max() / scale for each in (whole, found)]
        assert errors[1] <= 2 * errors[0] + 1e-6, name


def test_dropout_is_repeated_and_the_generator_left_where_it_was() -> None:
    model = build(nn.Dropout(0.5))
    inputs, labels = data()
    torch.manual_seed(5)
    expected = gradients(model, kept(model, inputs, 4), labels)
    torch.manual_seed(5)
    embeddings = chunked(model, inputs, 4)
    torch.rand(7)  # whatever is drawn between the two passes
    state = torch.get_rng_state()
    found = gradients(model, embeddings, labels)
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-12, atol=1e-15, msg=name)
    torch.manual_seed(6)
    other = gradients(model, chunked(model, inputs, 4), labels)
    assert not torch.equal(other["encoder.0.weight"], expected["encoder.0.weight"])


@pytest.mark.parametrize("inside", [False, True], ids=["backward outside", "backward inside"])
def test_autocast_is_repeated(inside: bool) -> None:
    model = build(nn.Dropout(0.3), dtype=torch.float32)
    inputs, labels = data(torch.float32)

    def run(embed: Any) -> dict[str, Tensor | None]:
        torch.manual_seed(5)
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=embed is chunked):
            embeddings = embed(model, inputs, 4)
            assert model.encoder(inputs).dtype == torch.bfloat16
            loss = SupConLoss(0.2)(embeddings, labels)
            if inside:
                loss.backward()
        if not inside:
            loss.backward()
        return {"loss": loss.detach()} | {name: value.grad for name, value in model.named_parameters()}

    expected = run(kept)
    for name, value in run(chunked).items():
        scale = expected[name].abs().max().item()
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-6 * scale, msg=name)


def test_batch_norm_is_that_of_the_chunks_and_counts_them_once() -> None:
    model, oracle = (build(nn.BatchNorm1d(16)) for _ in range(2))
    inputs, labels = data()
    expected = gradients(oracle, kept(oracle, inputs, 5), labels)
    for name, value in gradients(model, chunked(model, inputs, 5), labels).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-10, atol=1e-13, msg=name)
    for (name, value), other in zip(model.named_buffers(), oracle.buffers(), strict=True):
        assert torch.equal(value, other), name
    assert model.encoder[2].num_batches_tracked == 4


def test_frozen_and_unused_parameters_get_no_gradient() -> None:
    model = build()
    model.encoder.requires_grad_(False)
    model.head.unused = nn.Parameter(torch.ones(2))
    inputs, labels = data()
    found = gradients(model, chunked(model, inputs, 4), labels)
    whole = gradients(model, model(inputs), labels)
    for name, value in whole.items():
        torch.testing.assert_close(found[name], value, rtol=1e-10, atol=1e-13, msg=name)
    assert found["encoder.0.weight"] is None
    assert found["head.unused"] is None


def test_gradients_accumulate_and_hooks_run_once() -> None:
    model = build()
    inputs, labels = data()
    calls = []
    handle = model.encoder[0].weight.register_post_accumulate_grad_hook(lambda parameter: calls.append(1))
    for _ in range(2):
        SupConLoss(0.2)(chunked(model, inputs, 3), labels).backward()
    handle.remove()
    assert len(calls) == 2  # once a backward pass, not once a chunk: what averages over ranks hangs here
    twice = {name: value.grad.clone() for name, value in model.named_parameters()}
    for name, value in gradients(model, model(inputs), labels).items():
        if name != "loss":
            torch.testing.assert_close(twice[name], 2 * value, rtol=1e-10, atol=1e-13, msg=name)


def test_without_a_gradient_it_only_embeds() -> None:
    model = build()
    inputs, _ = data()
    with torch.no_grad():
        found = chunked(model, inputs, 4)
    assert not found.requires_grad
    torch.testing.assert_close(found, model(inputs).detach(), rtol=1e-12, atol=1e-15)
    model.requires_grad_(False)
    assert not chunked(model, inputs, 4).requires_grad


def test_a_parameter_changed_between_the_passes_is_noticed() -> None:
    model = build()
    inputs, labels = data()
    loss = SupConLoss(0.2)(chunked(model, inputs, 4), labels)
    with torch.no_grad():
        model.encoder[0].weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_only_one_chunk_is_held() -> None:
    model = build()
    inputs, labels = data()
    saved = [0]

    def count(tensor: Tensor) -> Tensor:
        if (
            tensor.ndim
            and len(tensor) <= ROWS
            and tensor.shape[-1] in (WIDTH, 8, 16)
            and not isinstance(tensor, nn.Parameter)
        ):
            saved[-1] += len(tensor)
        return tensor

    def embed(part: Tensor) -> Tensor:
        saved.append(0)
        return model(part)

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        embeddings = embed_in_chunks(embed, [model.encoder, model.head], inputs, ROWS, 4)
        assert sum(saved) == 0  # no graph yet
        del saved[1:]
        SupConLoss(0.2)(embeddings, labels).backward()
        per_chunk = saved[1:]
        saved.append(0)
        model(inputs)
    assert len(per_chunk) == 5
    assert 0 < max(per_chunk) < saved[-1] / 2


class Pair(NamedTuple):
    first: Tensor
    second: list[Tensor]


@pytest.mark.parametrize("kind", ["mapping", "tuple", "list", "named tuple", "texts"])
def test_inputs_of_every_kind_are_cut(kind: str) -> None:
    model = build()
    inputs, labels = data()
    wrap, unwrap = {
        "mapping": (lambda x: {"x": x, "length": 3, "more": {"none": None}}, lambda part: part["x"]),
        "tuple": (lambda x: (x, x), lambda part: (part[0] + part[1]) / 2),
        "list": (lambda x: [x, 0.5], lambda part: 2 * part[0] * part[1]),
        "named tuple": (lambda x: Pair(x, [x]), lambda part: (part.first + part.second[0]) / 2),
        "texts": (lambda x: [str(i) for i in range(ROWS)], lambda part: inputs[[int(text) for text in part]]),
    }[kind]
    found = embed_in_chunks(lambda part: model(unwrap(part)), [model], wrap(inputs), ROWS, 5)
    whole = gradients(model, model(inputs), labels)
    for name, value in gradients(model, found, labels).items():
        torch.testing.assert_close(value, whole[name], rtol=1e-10, atol=1e-13, msg=name)


@pytest.mark.parametrize(
    ("inputs", "error", "sentence"),
    [
        (torch.zeros(3, ROWS), ValueError, r"first dimension of every tensor, here 17, .* got shape \(3, 17\)"),
        ({"x": torch.tensor(1.0)}, ValueError, r"got shape \(\)"),
        ({"x": object()}, TypeError, "`inputs` must be tensors, or mappings, .* got a object"),
    ],
)
def test_inputs_that_cannot_be_cut(inputs: object, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        chunked(build(), inputs, 4)
