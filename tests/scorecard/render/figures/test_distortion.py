# SPDX-License-Identifier: Apache-2.0
"""Error against bytes, beside the limit for Gaussian vectors."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.picture_geometry import check_texts, drawn

from lightning_monocon.scorecard.render.figures.distortion import CodeError, distortion_figure

EQUAL = np.full(16, 0.5)


def test_distances_to_the_limit_have_a_closed_form() -> None:
    # Sixteen equal components: R(D) = 8 log2(8 / D).
    codes = [CodeError("b", 4, 2.0), CodeError("a", 2, 4.0), CodeError("b", 2, 1.0), CodeError("a", 1, 9.0)]
    found = distortion_figure(EQUAL, codes)
    assert found.bits_above == pytest.approx([32 - 16, 16 - 8, 16 - 24, 8 - 0])
    left, right = found.figure.axes
    first, second, limit = left.lines
    assert [first.get_label(), second.get_label(), limit.get_label()] == ["b", "a", "limit for Gaussian vectors"]
    assert [list(first.get_xdata()), list(first.get_ydata())] == [[2, 4], [1 / 8, 2 / 8]]
    assert list(right.lines[1].get_xdata()) == [1, 2]
    assert list(right.lines[1].get_ydata()) == pytest.approx([8, 8])
    # Each bit a component quarters the error.
    np.testing.assert_allclose(limit.get_ydata(), 4.0 ** (-np.asarray(limit.get_xdata()) * 8 / 16))


def test_a_code_of_any_error_stays_in_the_picture() -> None:
    codes = [CodeError("far", 64, 7.0), CodeError("worse than the mean", 1, 30.0)]
    left, right = distortion_figure(EQUAL, codes).figure.axes
    low, high = left.get_ylim()
    assert 0.01 < low < 7 / 8 and high > 30 / 8
    assert right.get_ylim()[1] > 500


def test_the_texts_of_many_codes_do_not_collide() -> None:
    codes = [
        CodeError(f"a family with a long name, {place}", size, 8.0 * 0.9**size * (1 + place))
        for place in range(9)
        for size in (1, 2, 4, 8, 16, 48, 64, 96, 192, 768)
    ]
    check_texts(drawn(distortion_figure(EQUAL, codes).figure))


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match="`codes` must hold at least one code; got none"):
        distortion_figure(EQUAL, [])
    with pytest.raises(ValueError, match="`codes` must be of at least 1 byte; 'none' has 0"):
        distortion_figure(EQUAL, [CodeError("none", 0, 1.0)])
    for error in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="positive, finite squared error; that of 'float32' is"):
            distortion_figure(EQUAL, [CodeError("float32", 64, error)])
    with pytest.raises(ValueError, match="`variances` must be finite and not negative; got -1"):
        distortion_figure(np.array([1.0, -1.0]), [CodeError("a", 1, 1.0)])
