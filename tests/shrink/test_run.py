# SPDX-License-Identifier: Apache-2.0
"""Codes are fitted while others are judged, each once, and only the best of a size is kept."""

from __future__ import annotations

from contextlib import closing

import pytest
import torch

from lightning_monocon.codes import Codec, FittingRows
from lightning_monocon.codes.families.transform import fit_transform
from lightning_monocon.shrink import run
from lightning_monocon.shrink.candidates import Candidate
from lightning_monocon.shrink.result import Line


def fitting() -> FittingRows:
    return FittingRows.of(torch.randn(600, 8, generator=torch.Generator().manual_seed(0)), "dot")


def test_codes_come_in_their_order_and_few_are_fitted_ahead() -> None:
    fits: list[int] = []

    def fit(rows: FittingRows, size: int) -> Codec:
        fits.append(size)
        if size == 6:
            raise ValueError("six")
        return fit_transform(rows, size)

    tried = [Candidate(f"transform-{size}", size, fit) for size in range(1, 8)]
    with closing(run._fitted_ahead(tried, fitting())) as found:
        first = [next(found)[0].name for _ in range(2)]
    assert first == ["transform-1", "transform-2"] and len(fits) <= 2 + run._AHEAD
    with pytest.raises(ValueError, match="six"):
        list(run._fitted_ahead(tried, fitting()))
    assert [codec.name for (codec,) in run._fitted_ahead(tried[:3], fitting())] == [each.name for each in tried[:3]]
    assert [*run._fitted_ahead([], fitting())] == []


def test_the_best_code_of_a_size_is_not_fitted_again() -> None:
    rows, lines = fitting(), list[Line]()
    codec = fit_transform(rows, 2)
    for name, quality in (("a", 0.5), ("b", 0.7), ("c", 0.6)):
        candidate = Candidate(f"{name}-2", 2, lambda *_: pytest.fail("fitted again"))
        lines.append(Line(name, candidate, torch.ones(1), 2, quality, fitted=codec))
        run._keep_best(lines)
    assert [line.fitted is codec for line in lines] == [False, True, False]
    assert lines[1].codec(rows) is codec
