# SPDX-License-Identifier: Apache-2.0
"""Of the codes of one size only the best is kept."""

from __future__ import annotations

import pytest
import torch

from lightning_monocon.codes import FittingRows
from lightning_monocon.codes.candidates import Candidate
from lightning_monocon.codes.families.transform import fit_transform
from lightning_monocon.shrink import run
from lightning_monocon.shrink.result import Line


def fitting() -> FittingRows:
    return FittingRows.of(torch.randn(600, 8, generator=torch.Generator().manual_seed(0)), "dot")


def test_the_best_code_of_a_size_is_not_fitted_again() -> None:
    rows, lines = fitting(), list[Line]()
    codec = fit_transform(rows, 2)
    for name, quality in (("a", 0.5), ("b", 0.7), ("c", 0.6)):
        candidate = Candidate(f"{name}-2", 2, lambda *_: pytest.fail("fitted again"))
        lines.append(Line(name, candidate, torch.ones(1), 2, quality, fitted=codec))
        run._keep_best(lines)
    assert [line.fitted is codec for line in lines] == [False, True, False]
    assert lines[1].codec(rows) is codec
