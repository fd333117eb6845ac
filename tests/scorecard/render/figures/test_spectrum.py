# SPDX-License-Identifier: Apache-2.0
"""Spectra."""

from __future__ import annotations

import numpy as np
import pytest

from lightning_monocon.scorecard import Scorecard
from lightning_monocon.scorecard.render.figures.spectrum import spectrum_figure


def test_n99_is_where_a_line_crosses_one_per_cent(small: Scorecard) -> None:
    unexplained, variances = spectrum_figure(small).axes
    arm = small.arm("narrow")
    (left,) = (line for line in unexplained.lines if line.get_label() == "narrow")
    assert int(np.argmax(np.array(left.get_ydata()) <= 0.01)) + 1 == arm.spread("n99")[0] == 4
    mean = np.mean([score.spectrum.numpy() for score in arm.scores], axis=0)
    assert list(variances.lines[1].get_ydata()) == pytest.approx(list(np.maximum(mean, 1e-10)))
