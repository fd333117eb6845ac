# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import normalize
from torch import Tensor

from lightning_monocon.functional import principal_components
from lightning_monocon.functional.quantisation import Rounding, vector_bytes
from lightning_monocon.scorecard import EmbeddingSet, measure
from lightning_monocon.scorecard.frontier import measure_rounded

Planted = Callable[..., EmbeddingSet]
Digits = tuple[Tensor, Tensor, Tensor, Tensor]


def test_int8_agrees_with_a_search_over_the_integers(digits: Digits) -> None:
    gallery, labels, query, truth = digits
    rows = [normalize(part.double().numpy()) for part in (gallery, query)]
    pca = PCA(svd_solver="full").fit(rows[0])
    scores = [pca.transform(part) for part in rows]
    step = np.abs(scores[0]).max(0) / 127
    line = measure_rounded(EmbeddingSet(*digits), "int8", principal_components(gallery))
    assert line.bytes == line.dims == (1, 2, 4, 8, 16, 32)  # the rank is 61
    for k, found in list(zip(line.dims, line.knn_accuracy, strict=True))[2:]:
        stored = [np.clip(np.rint(part[:, :k] / step[:k]), -127, 127) * step[:k] for part in scores]
        voters = KNeighborsClassifier(5, metric="cosine", algorithm="brute").fit(stored[0], labels.numpy())
        # float32 coordinates on the edge of a step may round the other way
        assert found == pytest.approx(voters.score(stored[1], truth.numpy()), abs=2.01 / len(truth)), k


def test_binary_ranks_by_hamming_distance(planted: Planted) -> None:
    data = planted(rank=32, dim=32, noise=0.3)
    basis = principal_components(data.gallery)
    line = measure_rounded(data, "binary", basis)
    assert (line.dims, line.bytes) == ((8, 16, 32), (1, 2, 4))
    unit = [normalize(part.double().numpy()) for part in (data.gallery, data.query)]
    signs = [(part - basis.mean.numpy()) @ basis.components.numpy().T >= 0 for part in unit]
    distance = (signs[1][:, None] != signs[0][None]).sum(-1)
    nearest = distance.min(1)
    right = data.gallery_labels.numpy()[None] == data.query_labels.numpy()[:, None]
    at_least = np.mean([(right[q] | (distance[q] > nearest[q])).all() for q in range(len(right))])
    at_most = np.mean([(right[q] & (distance[q] == nearest[q])).any() for q in range(len(right))])
    assert at_least <= line.recall_at_1[-1] <= at_most  # ties are broken one way or the other


def test_a_narrow_arm_is_stored_in_what_it_has(planted: Planted) -> None:
    card = measure(planted(rank=4, dim=4), rounded=True)
    assert [(line.storage, line.dims) for line in card.rounded] == [("int8", (1, 2, 4)), ("binary", (4,))]
    assert measure(planted(rank=4, dim=4)).rounded == ()


def test_rounding_is_calibrated_on_the_gallery_and_clips_the_rest() -> None:
    rounding = Rounding.fit(torch.tensor([[127.0, 0.0], [-12.7, 0.0]]), "int8")
    expected = torch.tensor([[3.0, 0.0], [127.0, 0.0], [-127.0, 0.0]])
    torch.testing.assert_close(rounding(torch.tensor([[3.4, 0.0], [500.0, 0.0], [-500.0, 0.0]])), expected)
    rows = torch.tensor([[0.3, -2.0]])
    assert Rounding.fit(rows, "binary")(rows).tolist() == [[1.0, -1.0]]
    assert Rounding.fit(rows, "float32")(rows) is rows


@pytest.mark.parametrize(("dims", "sizes"), [(1, (4, 1, 1)), (9, (36, 9, 2)), (512, (2048, 512, 64))])
def test_bytes_are_whole(dims: int, sizes: tuple[int, int, int]) -> None:
    assert tuple(vector_bytes(dims, storage) for storage in ("float32", "int8", "binary")) == sizes
