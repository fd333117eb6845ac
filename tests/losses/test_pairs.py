# SPDX-License-Identifier: Apache-2.0
"""The losses of pairs as a user meets them: torch's own losses, learnt numbers, compilation, MonoCon and refusals."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from oracles import pairs as oracle
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

import lightning_monocon
from lightning_monocon import MonoCon
from lightning_monocon.losses import ClipLoss, CrossSupConLoss, PairsByLabel, SigLipLoss

ROWS = torch.eye(4)


def sides(count: int = 24, dim: int = 8) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(count)
    first = torch.randn(count, dim, generator=generator)
    return first.requires_grad_(), (first.detach() + torch.randn(count, dim, generator=generator)).requires_grad_()


def learnt(value: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(value))


def test_clip_is_the_mean_of_two_cross_entropies() -> None:
    first, second = sides()
    logits = F.normalize(first, dim=1) @ F.normalize(second, dim=1).T / 0.07
    own = torch.arange(24)
    wanted = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    assert_close(ClipLoss()(first, second), wanted)
    one = CrossSupConLoss(0.07)(first, second, own, own), CrossSupConLoss(0.07)(second, first, own, own)
    assert_close(ClipLoss()(first, second), (one[0] + one[1]) / 2)


def test_siglip_is_the_published_code() -> None:
    """The pseudo-code of the paper, algorithm 1, with its names."""
    first, second = sides()
    zimg, ztxt = F.normalize(first, dim=1), F.normalize(second, dim=1)
    logits = zimg @ ztxt.T * 10 - 10
    labels = 2 * torch.eye(24) - torch.ones(24, 24)
    assert_close(SigLipLoss()(first, second), -F.logsigmoid(labels * logits).sum() / 24)


def test_temperature_and_bias_are_learnt() -> None:
    first, second = sides()
    loss = SigLipLoss(learnt(0.1), learnt(-3.0))
    loss(first, second).backward()
    numbers = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (0.1, -3.0)]
    oracle.siglip(first.detach(), second.detach(), *numbers).backward()
    assert [name for name, _ in loss.named_parameters()] == ["temperature", "bias"]
    assert_close(loss.temperature.grad.double(), numbers[0].grad, rtol=1e-5, atol=0)
    assert_close(loss.bias.grad.double(), numbers[1].grad, rtol=1e-5, atol=0)


def test_copies_pickles_and_shows_itself() -> None:
    first, second = sides()
    for loss in (ClipLoss(0.2), SigLipLoss(bias=-4.0)):
        for twin in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
            assert_close(twin(first, second), loss(first, second), rtol=0, atol=0)
        assert not loss.state_dict()
    assert repr(ClipLoss()) == "ClipLoss(temperature=0.07, normalize=True)"
    assert repr(SigLipLoss(learnt(0.1))) == "SigLipLoss(temperature=learnt, normalize=True, bias=-10.0)"


@pytest.mark.parametrize("loss", [ClipLoss(learnt(0.1)), SigLipLoss(0.1, learnt(-2.0))], ids=["clip", "siglip"])
def test_one_graph_serves_any_number_of_pairs(loss: nn.Module) -> None:
    graphs = []

    def count(graph: torch.fx.GraphModule, _: object) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, dynamic=True, backend=count)
    for pairs in (24, 40):
        first, second = sides(pairs)
        plain, found = loss(first, second), compiled(first, second)
        assert_close(found, plain, rtol=1e-6, atol=0)
        wanted = first, second, *loss.parameters()
        assert_close(torch.autograd.grad(found, wanted), torch.autograd.grad(plain, wanted), rtol=1e-4, atol=1e-6)
    assert len(graphs) == 1


def test_exports_with_any_number_of_pairs() -> None:
    batch = torch.export.Dim("batch", min=2, max=2000)
    for loss in (ClipLoss(), SigLipLoss()):
        inputs = tuple(x.detach() for x in sides())
        program = torch.export.export(loss, inputs, dynamic_shapes=({0: batch}, {0: batch}))
        fewer = tuple(x[:7] for x in inputs)
        assert_close(program.module()(*fewer), loss(*fewer), rtol=1e-6, atol=0)


def test_labels_may_name_the_pairs_of_one_set() -> None:
    first, second = sides(6)
    labels = torch.tensor([9, -1, 4, 2**40, 0, 3])
    order = torch.tensor([0, 3, 6, 1, 2, 7, 8, 4, 5, 9, 11, 10])
    rows, names = torch.cat([first, second])[order], torch.cat([labels, labels])[order]
    loss = PairsByLabel(ClipLoss(0.2))
    assert_close(loss(rows, names), ClipLoss(0.2)(first, second))
    with pytest.raises(ValueError, match=r"each by two rows; 1 of 6 labels have .* \(label -1 has 3\)"):
        loss(torch.cat([rows, rows[:1]]), torch.cat([names, torch.tensor([-1])]))
    with pytest.raises(ValueError, match=r"`labels` must hold 12 integers, one per embedding; got shape \(5,\)"):
        loss(rows, names[:5])


def test_monocon_trains_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    model = MonoCon(nn.Linear(6, 8), in_features=8, loss=PairsByLabel(lightning_monocon.SigLipLoss()))
    monkeypatch.setattr(model, "log", lambda *_, **__: None)
    model.training_step((torch.randn(8, 6), torch.arange(4).repeat(2)), 0).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.head.parameters())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"temperature": 0.0}, "`temperature` must be positive and finite; got 0"),
        ({"backend": "triton"}, r"`backend` must not be 'triton', for which SigLipLoss has no kernels; pass 'auto'"),
        ({"backend": "cuda"}, "`backend` must be one of 'auto', 'triton', 'torch'; got 'cuda'"),
        ({"block_size": 0}, "`block_size` must be at least 1"),
        ({"bias": float("inf")}, "`bias` must be finite; got inf. SigLIP starts at -10"),
        ({"bias": torch.ones(2)}, r"`bias` must be a number or a floating 0-d tensor; got .* shape \(2,\)"),
    ],
    ids=lambda v: str(v)[:40],
)
def test_constructor_refuses(arguments: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        SigLipLoss(**arguments)


@pytest.mark.parametrize("name", ["temperature", "bias"])
def test_options_must_be_numbers(name: str) -> None:
    with pytest.raises(TypeError, match=f"`{name}` must be a number or a floating 0-d tensor; got 'a'. Pass"):
        SigLipLoss(**{name: "a"})


def test_a_learnt_bias_that_is_no_number_is_named() -> None:
    loss = SigLipLoss(bias=nn.Parameter(torch.tensor(-10.0)))
    with torch.no_grad():
        loss.bias.fill_(torch.nan)
    with pytest.raises(ValueError, match=r"`bias` must be finite; got nan\. SigLIP starts"):
        loss(ROWS, ROWS)


@pytest.mark.parametrize(
    ("inputs", "error", "sentence"),
    [
        ((ROWS[0], ROWS), ValueError, r"`first` must be \(N, D\) .* got shape \(4,\)"),
        ((ROWS, ROWS.long()), TypeError, "`second` must be floating; got torch.int64"),
        ((ROWS, ROWS[:3]), ValueError, "`second` must hold the partner of each row of `first`, 4 rows; got 3. For"),
        ((ROWS, ROWS[:, :3]), ValueError, r"`second` must have `first`'s 4 dimensions; got shape \(4, 3\)"),
        ((ROWS, ROWS.to("meta")), ValueError, "`second` must be on `first`'s device, cpu; got meta"),
        ((ROWS, ROWS / 0), ValueError, "`second` must be finite; 4 of 4 rows"),
        ((ROWS * 0, ROWS), ValueError, "`first` must have a length above zero .* Drop those rows, or pass normalize=F"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_forward_refuses(inputs: tuple[Tensor, Tensor], error: type[Exception], sentence: str) -> None:
    for loss in (ClipLoss(), SigLipLoss()):
        with pytest.raises(error, match=sentence):
            loss(*inputs)
