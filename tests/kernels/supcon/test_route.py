# SPDX-License-Identifier: Apache-2.0
"""The route of a call: the whole table, and that both losses and their operators obey it and decide nothing else."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lightning_monocon import losses
from lightning_monocon.kernels import cross_supcon as two_sets
from lightning_monocon.kernels import dispatch
from lightning_monocon.kernels import supcon as one_set
from lightning_monocon.kernels.supcon.route import SMALL_UP_TO, find_route, route

FOLDERS = [Path(package.__file__).parent for package in (one_set, two_sets)]
GOES_TO = {  # route: the name that the loss calls, of one set and between two
    "operator": ("supcon_operator", "cross_operator"),
    "streamed": ("supcon_streamed", None),
    "formula": (None, "cross_supcon_reference"),
}


@pytest.mark.parametrize(
    ("loss", "triton", "facts", "expected"),
    [
        ("supcon", True, {"in_operator": True}, "kernels"),
        ("supcon", False, {"in_operator": True}, "streamed"),
        ("supcon", False, {"in_operator": True, "compiling": True}, "streamed"),
        ("supcon", False, {"compiling": True}, "operator"),
        ("supcon", True, {"compiling": True, "gathered": True}, "ranks"),
        ("supcon", False, {"compiling": True, "gathered": True}, "streamed"),
        ("supcon", True, {}, "operator"),
        ("supcon", True, {"gathered": True}, "ranks"),
        ("supcon", False, {}, "streamed"),
        ("supcon", False, {"gathered": True}, "streamed"),
        ("supcon", False, {"transformed": True}, "streamed"),
        ("supcon", False, {"few_pairs": True}, "streamed"),
        ("cross_supcon", True, {"in_operator": True}, "kernels"),
        ("cross_supcon", False, {"in_operator": True, "few_pairs": True}, "streamed"),
        ("cross_supcon", False, {"compiling": True, "few_pairs": True}, "operator"),
        ("cross_supcon", True, {}, "operator"),
        ("cross_supcon", False, {}, "operator"),
        ("cross_supcon", False, {"few_pairs": True}, "formula"),
        ("cross_supcon", False, {"transformed": True}, "formula"),
    ],
    ids=str,
)
def test_the_table(loss: str, triton: bool, facts: dict[str, bool], expected: str) -> None:
    assert route(loss, triton, **facts) == expected


def test_the_facts_of_real_tensors() -> None:
    rows = torch.ones(3, 2)
    assert find_route("supcon", "auto", rows) == ("streamed", "torch")
    assert find_route("cross_supcon", "auto", rows, pairs=SMALL_UP_TO) == ("formula", "torch")
    assert find_route("cross_supcon", "auto", rows, pairs=SMALL_UP_TO + 1) == ("operator", "torch")
    assert find_route("cross_supcon", "auto", rows) == ("operator", "torch")
    assert find_route("cross_supcon", "torch", rows, pairs=1) == ("operator", "torch")
    wrapped = torch.func.vmap(lambda x: x.new_tensor(find_route("cross_supcon", "torch", x, rows)[0] == "formula"))
    assert wrapped(rows).all()


def losses_of(backend: str) -> tuple[tuple[Callable[..., torch.Tensor], tuple[torch.Tensor, ...]], ...]:
    # enough numbers for the two implementations to differ in the last bit
    rows, labels = torch.randn(37, 24, generator=torch.Generator().manual_seed(0)), torch.arange(37) % 5
    rows.requires_grad_()
    return (
        (losses.SupConLoss(backend=backend), (rows, labels)),
        (losses.CrossSupConLoss(backend=backend), (rows, rows, labels, labels)),
    )


@pytest.mark.parametrize("backend", ["auto", "torch", "triton"])
@pytest.mark.parametrize("forced", GOES_TO)
def test_the_losses_obey(forced: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_monocon.kernels.supcon.route.route", lambda *_, **__: forced)
    for (loss, inputs), package, name in zip(losses_of(backend), (one_set, two_sets), GOES_TO[forced], strict=True):
        if name is not None:
            monkeypatch.setattr(package, name, lambda *_, name=name: torch.tensor(float(len(name))))
            assert loss(*inputs) == len(name)


def test_the_loss_across_ranks_obeys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_monocon.kernels.supcon.route.route", lambda *_, **__: "ranks")
    ranks = SimpleNamespace(across_ranks=lambda *_: torch.tensor(7.0))
    monkeypatch.setitem(sys.modules, "lightning_monocon.kernels.supcon.ranks", ranks)
    loss, inputs = losses_of("torch")[0]
    assert loss(*inputs) == 7


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
@pytest.mark.skipif(not dispatch.is_interpreting(), reason="Triton's interpreter is off")
@pytest.mark.parametrize("forced", ["kernels", "streamed"])
def test_the_operators_obey(forced: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward and backward pass give the same bits whatever the backend, because nothing else looks at it."""

    def operators(*_: object, in_operator: bool = False, **__: object) -> str:
        return forced if in_operator else "operator"

    monkeypatch.setattr("lightning_monocon.kernels.supcon.route.route", operators)
    found: dict[str, list[torch.Tensor]] = {"torch": [], "triton": []}
    for backend, bits in found.items():
        for loss, (rows, *rest) in losses_of(backend):
            value = loss(rows, *rest)
            bits += [value.detach(), *torch.autograd.grad(value, rows)]
    assert all(map(torch.equal, found["torch"], found["triton"]))


def test_nothing_else_decides() -> None:
    """No other file of the losses asks for Triton, for transforms, or compares a backend."""
    files = [path for folder in FOLDERS for path in sorted(folder.glob("*.py")) if path.name != "route.py"]
    assert len(files) > 15
    for path in [*files, Path(losses.__file__)]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = {getattr(node, field, None) for field in ("id", "attr", "name")}
            assert not names & {"use_triton", "in_transform"}, f"{path}:{node.lineno}"
            if isinstance(node, ast.Compare):
                words = {getattr(part, "id", getattr(part, "attr", "")) for part in (node.left, *node.comparators)}
                assert "backend" not in words, f"{path}:{node.lineno}"
