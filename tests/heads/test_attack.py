# SPDX-License-Identifier: Apache-2.0
"""An attack finds changed labels that a search of the box finds, and never one that is proved to stay."""

import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from lightning_monocon.heads import LinearHead, MLPHead, certify_neighbours
from lightning_monocon.heads.attack import attack_labels
from lightning_monocon.heads.base import Head


def rows(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Three classes about the corners of a cube, in four features."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    return 1.5 * torch.eye(3, 4)[labels] + 0.5 * torch.randn(count, 4, generator=generator).abs(), labels


@pytest.fixture(params=[LinearHead, MLPHead], ids=lambda kind: kind.__name__)
def head(request: pytest.FixtureRequest) -> Head:
    torch.manual_seed(0)
    made: Head = request.param(4, out_features=3)
    return made.eval()


def test_without_a_change_the_answers_are_scikit_learns(head: Head) -> None:
    (gallery, labels), (query, truth) = rows(90, 0), rows(40, 1)
    found = attack_labels(head, gallery, labels, query, truth, eps=0.0)
    with torch.no_grad():
        neighbours = KNeighborsClassifier(5, metric="cosine").fit(head(gallery), labels)
        expected = neighbours.predict(head(query)) == truth.numpy()
    assert (found.numpy() == expected).mean() > 0.95  # votes that tie are settled otherwise


@pytest.mark.parametrize("eps", [0.02, 0.1, 0.3])
def test_what_is_proved_survives_and_a_search_of_the_box_finds_little_more(head: Head, eps: float) -> None:
    (gallery, labels), (query, truth) = rows(90, 0), rows(40, 1)
    survives = attack_labels(head, gallery, labels, query, truth, eps)
    proved = certify_neighbours(head, gallery, labels, query, eps)
    assert not ((proved.vote == truth) & proved.label & ~survives).any()

    inside = 2 * torch.rand(400, 1, 4, generator=torch.Generator().manual_seed(2)) - 1
    inside[::2] = inside[::2].sign()  # corners
    with torch.no_grad():
        neighbours = KNeighborsClassifier(5, metric="cosine").fit(head(gallery), labels)
        votes = neighbours.predict(head((query + eps * inside).flatten(0, 1))).reshape(400, -1)
    stays = (votes == truth.numpy()).all(0)
    assert survives.numpy().mean() <= stays.mean() + 0.1


def test_features_stay_above_the_limit_and_a_negative_change_is_refused(head: Head) -> None:
    (gallery, labels), (query, truth) = rows(90, 0), rows(40, 1)
    seen: list[float] = []
    head.register_forward_pre_hook(lambda _, inputs: seen.append(float(inputs[0].detach().min())))
    attack_labels(head, gallery, labels, query, truth, eps=5.0, least=0.0)
    assert min(seen) >= 0
    with pytest.raises(ValueError, match="`eps` must be at least 0"):
        attack_labels(head, gallery, labels, query, truth, eps=-0.1)
