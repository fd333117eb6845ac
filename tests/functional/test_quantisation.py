# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from sklearn.preprocessing import normalize
from torch import Tensor

from lightning_monocon.codes.families import random_rotation
from lightning_monocon.export import Calibration
from lightning_monocon.functional.quantisation import Storage, fit_quantiser, vector_bytes
from lightning_monocon.functional.spectrum import PrincipalComponents
from lightning_monocon.functional.truncation_curve import Ties
from lightning_monocon.scorecard import EmbeddingSet
from lightning_monocon.scorecard.frontier import measure_rounded


def test_int8_is_calibrated_on_the_gallery_and_clips_the_rest() -> None:
    quantiser = fit_quantiser(torch.tensor([[127.0, 0.0], [-12.7, 0.0]]), "int8")
    codes = quantiser.codes(torch.tensor([[3.4, 0.0], [500.0, 0.0], [-500.0, 0.0]]))
    assert codes.tolist() == [[3, 0], [127, 0], [-127, 0]]
    torch.testing.assert_close(quantiser.decode(codes), torch.tensor([[3.0, 0.0], [127.0, 0.0], [-127.0, 0.0]]))


@pytest.mark.parametrize("dtype", ["int8", "binary"])
def test_what_is_scored_is_what_is_shipped(dtype: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(-2, 3, (60, 16), generator=generator).float()  # a fifth of all coordinates is exactly 0
    labels = torch.arange(60) % 5
    axes = PrincipalComponents(torch.zeros(16).double(), torch.eye(16).double(), torch.ones(16).double())
    searched: list[tuple[Tensor, Tensor]] = []

    def nearest(self: Ties, gallery: Tensor, query: Tensor, dims: Sequence[int], k: int) -> tuple[Tensor, ...]:
        searched.append((gallery, query))
        return tuple(torch.zeros(len(query), k, dtype=torch.int64) for _ in dims)

    monkeypatch.setattr(Ties, "nearest_of_prefixes", nearest)
    measure_rounded(EmbeddingSet(rows[:40], labels[:40], rows[40:], labels[40:]), dtype, axes)
    unit = normalize(rows.double().numpy()).astype(np.float32)
    if dtype == "binary":
        unit = (torch.from_numpy(unit) @ random_rotation(16).float().T).numpy()
    shipped = Calibration.fit(torch.from_numpy(unit[:40]), dtype)
    for scored, part in zip(searched[-1], (unit[:40], unit[40:]), strict=True):
        codes = shipped.codes(torch.from_numpy(part))
        torch.testing.assert_close(scored.float(), shipped.decode(codes), rtol=0, atol=0)
        if dtype == "binary":
            np.testing.assert_array_equal(codes.numpy(), np.packbits(part > 0, axis=1))


@pytest.mark.parametrize(("dims", "sizes"), [(1, (4, 1, 1)), (9, (36, 9, 2)), (512, (2048, 512, 64))])
def test_bytes_are_whole(dims: int, sizes: tuple[int, int, int]) -> None:
    assert tuple(vector_bytes(dims, storage) for storage in ("float32", "int8", "binary")) == sizes
