# SPDX-License-Identifier: Apache-2.0
"""Shares of what is proved are those of the function, never above what trials leave standing."""

from __future__ import annotations

import math

import pytest
import torch
from helpers.head_cases import features
from sklearn.neighbors import KNeighborsClassifier

from lightning_monocon.functional import DegenerateSampleWarning
from lightning_monocon.heads import MLPHead, certify_neighbours
from lightning_monocon.metrics import CertifiedAccuracy

EPS = 0.05


def test_batches_give_the_shares_of_the_function_and_no_trial_refutes_them() -> None:
    torch.manual_seed(0)
    network = MLPHead(4, 8, 3, init="identity")
    labels, truth = torch.arange(60) % 3, torch.arange(40) % 3
    corner = 2 * torch.nn.functional.one_hot(torch.arange(3), 4)
    gallery, query = features(60, 4, 1) + corner[labels], features(40, 4, 2) + corner[truth]
    metric = CertifiedAccuracy(network, EPS, k=3)
    for part in (torch.arange(0, 23), torch.arange(23, 60)):
        metric.update(gallery[part], labels[part])
    for part in (torch.arange(0, 9), torch.arange(9, 40)):
        metric.update(query[part], truth[part], role="query")
    found = metric.compute()
    proved = certify_neighbours(network, gallery, labels, query, EPS, k=3)
    assert found["certified_nearest"] == proved.nearest.float().mean()
    assert found["certified_label"] == proved.label.float().mean()

    exact = network.double()

    def unit(rows: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(exact(rows.double())).detach()

    judge = KNeighborsClassifier(3).fit(unit(gallery), labels)
    right = torch.from_numpy(judge.predict(unit(query))) == truth
    assert found["accuracy"] == right.float().mean()
    standing = right.clone()
    generator = torch.Generator().manual_seed(3)
    for trial in range(200):
        offset = torch.rand(query.shape, generator=generator) * 2 - 1
        moved = query + EPS * (offset.sign() if trial % 2 else offset)
        standing &= torch.from_numpy(judge.predict(unit(moved))) == truth
    assert 0.5 * standing.float().mean() < found["certified_accuracy"] <= standing.float().mean()
    assert not (right & proved.label & ~standing).any()


def test_the_head_is_used_as_it_is_at_compute_and_is_not_saved() -> None:
    network = MLPHead(4, init="identity")
    metric = CertifiedAccuracy(network, 0.0, k=1)
    rows, labels = torch.eye(4), torch.arange(4)
    metric.update(rows, labels)
    metric.update(rows, labels, role="query")
    before = metric.compute()
    metric.update(rows[:0], labels[:0])  # forgets the value, as torchmetrics keeps it until the next update
    with torch.no_grad():
        network.output_layer.weight.zero_()
    assert before["certified_accuracy"] == 1 and metric.compute()["certified_accuracy"] == 0
    metric.persistent(True)
    assert not list(metric.children()) and not any("layer" in name for name in metric.state_dict())


def test_what_is_refused_and_what_is_nothing() -> None:
    with pytest.raises(TypeError, match="`head` must be a MonotonicMLP, MLPHead or LinearHead"):
        CertifiedAccuracy(torch.nn.Identity(), 0.1)
    with pytest.raises(ValueError, match=r"`eps` must be finite and at least 0; got -0\.1"):
        CertifiedAccuracy(MLPHead(4), -0.1)
    for eps in (torch.full((3,), 0.1), torch.full((2, 4), 0.1)):
        with pytest.raises(ValueError, match=r"`eps` must be of a shape that broadcasts to \(4,\); got"):
            CertifiedAccuracy(MLPHead(4), eps)
    with pytest.raises(TypeError, match="`least` must be a finite number, or None; got '0'"):
        CertifiedAccuracy(MLPHead(4), 0.1, least="0")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`least` must be a finite number, or None; got inf"):
        CertifiedAccuracy(MLPHead(4), 0.1, least=math.inf)
    metric = CertifiedAccuracy(MLPHead(4), torch.full((4,), 0.1))
    metric.update(torch.eye(4), torch.arange(4))
    with pytest.warns(DegenerateSampleWarning, match="got 4 and 0"):
        assert all(value.isnan() for value in metric.compute().values())
    with pytest.raises(ValueError, match="`features` must have the 4 numbers that the head takes; got 3"):
        metric.update(torch.eye(3), torch.arange(3))


def test_each_feature_may_have_its_own_distance() -> None:
    torch.manual_seed(0)
    head, rows, labels = MLPHead(4), torch.rand(30, 4), torch.arange(30) % 3
    eps = torch.tensor([0.0, 0.01, 0.02, 0.0])
    metric = CertifiedAccuracy(head, eps, k=3)
    metric.update(rows, labels)
    metric.update(rows[:9] + 0.01, labels[:9], role="query")
    found = certify_neighbours(head, rows, labels, rows[:9] + 0.01, eps, 3)
    assert metric.compute()["certified_label"] == found.label.double().mean().float()
    with pytest.raises(ValueError, match="`eps` must be finite and at least 0"):
        CertifiedAccuracy(head, -eps)


def test_arguments_are_named_before_anything_is_added() -> None:
    head = MLPHead(4)
    with pytest.raises(ValueError, match="`eps` must be finite and at least 0; got inf"):
        CertifiedAccuracy(head, eps=math.inf)
    with pytest.raises(TypeError, match="`eps` must be a number, or a tensor of numbers; got None"):
        CertifiedAccuracy(head, eps=None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"`k` must be a positive integer, how many found rows count; got \(1, 5\)"):
        CertifiedAccuracy(head, eps=0.1, k=(1, 5))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`features` must be finite; 3 of 3 rows"):
        CertifiedAccuracy(head, eps=0.1).update(torch.full((3, 4), math.nan), torch.arange(3))
