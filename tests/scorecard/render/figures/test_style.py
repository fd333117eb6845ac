# SPDX-License-Identifier: Apache-2.0
"""The look that all figures share."""

from __future__ import annotations

from pathlib import Path

from matplotlib.image import imread

from lightning_monocon.scorecard.render.figures.style import (
    dimension_axis,
    epoch_axes,
    legend_above,
    line_style,
    new_figure,
    percent_axis,
    save,
)


def test_sixteen_arms_look_different_and_eight_without_colour() -> None:
    looks = [line_style(index) for index in range(16)]
    assert len({(look["color"], str(look["linestyle"])) for look in looks}) == 16
    assert len({(str(look["linestyle"]), look["marker"]) for look in looks[:8]}) == 8


def test_per_cent_end_at_zero_and_a_hundred() -> None:
    _, (panel,) = new_figure(columns=1, width=4.0, height=3.0)
    percent_axis(panel, -5.0, 106.0, "share (%)")
    assert (panel.get_ylim(), panel.get_ylabel()) == ((0.0, 100.0), "share (%)")


def test_ticks_are_powers_of_two_and_the_largest_size() -> None:
    _, (panel,) = new_figure(columns=1, width=4.0, height=3.0)
    dimension_axis(panel, [1, 2, 3, 4, 6, 8, 12], "k")
    assert list(panel.get_xticks()) == [1, 2, 4, 8, 12]
    dimension_axis(panel, [256, 512, 1024, 1280], "k")  # 1024 would run into 1280
    assert list(panel.get_xticks()) == [256, 512, 1280]


def test_a_legend_names_each_arm_once() -> None:
    figure, panels = new_figure(columns=2, width=6.0, height=3.0)
    for panel in panels:
        panel.plot([0, 1], label="encoder")
    legend_above(figure, *panels)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["encoder"]


def test_a_saved_picture_has_the_size_of_the_figure(tmp_path: Path) -> None:
    figure, _ = new_figure(columns=1, width=4.0, height=3.0)
    assert imread(save(figure, tmp_path / "a.png")).shape == (450, 600, 4)


def test_the_axis_of_a_run_of_one_epoch_is_not_empty() -> None:
    _, (panel,) = new_figure(columns=1, width=4.0, height=3.0)
    panel.plot([0], [0.5], "o")
    epoch_axes([panel])  # a warning of matplotlib would fail this
    assert panel.get_xlim() == (-0.02, 1.02)
