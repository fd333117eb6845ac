# SPDX-License-Identifier: Apache-2.0
"""The figures of a scorecard, measured by Matplotlib's renderer in many situations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from helpers.picture_geometry import check_texts, drawn
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lightning_monocon.runs.record import History
from lightning_monocon.scorecard import EmbeddingSet, Scorecard, build, draw

Planted = Callable[..., EmbeddingSet]
Sets = dict[str, list[EmbeddingSet]]


def _history(epochs: range, *, learns: float = 1.0, width: int = 16, head: bool = True, every: int = 1) -> History:
    """A run that validates every few epochs, from the first to the last of its own."""
    seen = [epoch for epoch in epochs if epoch % every == 0]
    values = {
        "train/loss": {epoch: 5.0 - 4.0 * learns * epoch / epochs.stop for epoch in epochs},
        "val/knn_accuracy": {epoch: learns * (epoch + 1) / epochs.stop for epoch in seen},
        "val/effective_dimension": {epoch: float(width - width // 2 * epoch // epochs.stop) for epoch in seen},
    }
    below = {"val/encoder/effective_dimension": {epoch: 3.0 * width for epoch in seen}} if head else {}
    return History({**values, **below})


def _arms(planted: Planted, names: tuple[str, ...], seeds: int = 2, **how: object) -> Sets:
    return {
        name: [planted(arm=name, seed=seed, draw=draw, rows=(120, 60), **how) for seed in range(seeds)]
        for draw, name in enumerate(names)
    }


def _perfect(planted: Planted) -> Sets:
    """Every query is right at most sizes: lines on 100 %."""
    return _arms(planted, ("encoder", "mlp", "linear"), noise=0.02, rank=12, dim=32)


def _hopeless(planted: Planted) -> Sets:
    """Below chance at small sizes, because one label is common and the rows know nothing of any."""
    sets = _arms(planted, ("encoder", "mlp"), noise=50.0)
    return {
        name: [
            replace(data, gallery_labels=_mostly_zero(len(data.gallery)), query_labels=_mostly_zero(len(data.query)))
            for data in runs
        ]
        for name, runs in sets.items()
    }


def _mostly_zero(rows: int) -> np.ndarray:
    return np.where(np.arange(rows) % 10 < 8, 0, 1)


def _flat(planted: Planted) -> Sets:
    sets = _arms(planted, ("encoder", "flat"), seeds=1)
    return {**sets, "flat": [replace(data, gallery=data.gallery * 0 + 1) for data in sets["flat"]]}


def _prefixes(planted: Planted) -> Sets:
    sets = _arms(planted, ("encoder", "matryoshka"))
    return {**sets, "matryoshka": [replace(data, reading="prefix") for data in sets["matryoshka"]]}


LONG = ("encoder", "monotonic-lognormal", "matryoshka-monotonic", "mlp-squared", "mlp-identity", "linear-4")
SITUATIONS: dict[str, Callable[[Planted], Sets]] = {
    "perfect": _perfect,
    "hopeless": _hopeless,
    "flat": _flat,
    "prefixes": _prefixes,
    "alone": lambda planted: _arms(planted, ("encoder",), seeds=1),
    "one dimension": lambda planted: _arms(planted, ("encoder", "line"), dim=1, rank=1),
    "many arms": lambda planted: _arms(planted, (*LONG, "mlp", "mlp-lognormal", "linear-16"), seeds=1),
    "long names": lambda planted: _arms(
        planted, ("encoder", *(f"intfloat-multilingual-e5-large-instruct-finetuned-{i}" for i in range(2))), seeds=1
    ),
}


@pytest.fixture(scope="module")
def pictures(planted: Planted) -> Callable[[str], tuple[Scorecard, dict[str, Figure]]]:
    """Card and figures of a situation, made once."""

    @cache
    def make(situation: str) -> tuple[Scorecard, dict[str, Figure]]:
        sets = SITUATIONS[situation](planted)
        records = {
            name: [_history(range(3 * number, 20), head=number > 0, every=1 + number) for _ in runs]
            for number, (name, runs) in enumerate(sets.items())
        }
        card = build(sets, "encoder", records, with_nulls=False)
        return card, {name: drawn(figure) for name, figure in draw(card, [runs[0] for runs in sets.values()]).items()}

    return make


def _panels(figure: Figure) -> list[Axes]:
    return [panel for panel in figure.axes if panel.get_visible()]


@pytest.mark.parametrize("situation", SITUATIONS)
def test_no_text_covers_another_or_is_cut_off(
    situation: str, pictures: Callable[[str], tuple[Scorecard, dict[str, Figure]]]
) -> None:
    for figure in pictures(situation)[1].values():
        check_texts(figure)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_axes_hold_what_can_be_and_show_what_is(
    situation: str, pictures: Callable[[str], tuple[Scorecard, dict[str, Figure]]]
) -> None:
    """No per cent below 0 or above 100; and, but for the panel that zooms in, every point within the axes."""
    for name, figure in pictures(situation)[1].items():
        for panel in _panels(figure):
            low, high = sorted(panel.get_ylim())
            if "%" in panel.get_ylabel():
                assert 0 <= low < high <= 100, name
            if name in ("spectrum.png", "correlation.png") or panel.get_title().startswith("The best"):
                continue
            heights = [value for line in panel.lines for value in np.ravel(line.get_ydata())]
            assert all(low <= value <= high for value in heights), f"{name} hides a point"


def test_markers_at_a_hundred_per_cent_are_seen_whole(
    pictures: Callable[[str], tuple[Scorecard, dict[str, Figure]]],
) -> None:
    for name in ("frontier.png", "storage.png", "recall.png", "training.png"):
        figure = pictures("perfect")[1][name]
        panel = _panels(figure)[0]
        line = max(panel.lines, key=lambda line: max(line.get_ydata()))
        assert max(line.get_ydata()) == 100 == panel.get_ylim()[1]
        top = panel.transData.transform((1, 100))[1] + line.get_markersize() / 2 * figure.dpi / 72
        assert line.get_clip_box() is not None and line.get_clip_path() is None
        assert line.get_clip_box().y1 >= top, f"{name} cuts a marker in half"


@pytest.mark.parametrize("situation", ["perfect", "alone", "many arms"])
def test_panels_by_epoch_have_one_axis_of_epochs(
    situation: str, pictures: Callable[[str], tuple[Scorecard, dict[str, Figure]]]
) -> None:
    drawn_of = pictures(situation)[1]
    for name in ("dynamics.png", "training.png"):
        left, right = _panels(drawn_of[name])
        assert left.get_xlim() == right.get_xlim() and left.get_xlim()[1] >= 19
        assert (left.get_xlabel(), right.get_xlabel()) == ("epoch", "epoch")
    left, right = _panels(drawn_of["dynamics.png"])
    assert left.get_ylim() == right.get_ylim() and left.get_ylim()[0] == 0
    assert left.get_ylabel() == right.get_ylabel()


def test_figures_by_epoch_are_left_out_where_nothing_was_recorded(planted: Planted) -> None:
    sets = _arms(planted, ("encoder", "mlp"), seeds=1)
    card = build(sets, "encoder", {"encoder": [History({"lr": {0: 1.0}})], "mlp": [History({})]}, with_nulls=False)
    names = set(draw(card, [runs[0] for runs in sets.values()]))
    assert {"frontier.png", "spectrum.png"} <= names and not {"training.png", "dynamics.png"} & names
