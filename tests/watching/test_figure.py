# SPDX-License-Identifier: Apache-2.0
"""The pictures of a landscape, measured by Matplotlib's renderer in many situations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from helpers.picture_geometry import arrows, check_discs, check_texts, discs, drawn, texts
from helpers.watched_runs import RECORDED, replay
from matplotlib.figure import Figure
from oracles.credence_paths import PROBES, STRATA, grokking

from lightning_monocon.landscape import LandscapeTracker, merge_runs
from lightning_monocon.watching.figure import draw_graph, draw_landscape, visits

KINDS = ("memorisation", "gradual_generalisation, partial, forgetting", "return", "grokking", "jump, drift")


def _graph(states: int, changes: int, seed: int) -> nx.DiGraph:
    """States at random heights, some of them equal or zero, and as many changes between them as there can be."""
    rng = np.random.default_rng(seed)
    graph = nx.DiGraph()
    for state in range(states):
        height = float(rng.choice([0.0, 0.0, 4.0, 12.0, rng.uniform(0, 12)]))
        dwell = float(rng.exponential(1000.0) * rng.integers(0, 3))
        graph.add_node(state, dwell=dwell, **{"credence/train": 0.98, "credence/val": 0.03, "fallibility/val": height})
    pairs = [(a, b) for a in range(states) for b in range(states) if a != b]
    for a, b in rng.permutation(pairs)[:changes] if pairs else ():
        rates = {"rate_low": 2.5e-5, "rate_high": 4.5e-3} if rng.random() < 0.8 else {}
        graph.add_edge(int(a), int(b), count=1, kinds=KINDS[rng.integers(len(KINDS))], **rates)
    return graph


def _check(figure: Figure, graph: nx.DiGraph) -> None:
    drawn(figure)
    check_texts(figure)
    check_discs(figure)
    assert len(discs(figure)) == len(graph) and len(arrows(figure)) == graph.number_of_edges()
    for axes in figure.findobj(lambda artist: hasattr(artist, "get_ylim")):
        assert axes.get_ylim()[0] == 0, "neither credence nor fallibility is negative"
    shown = {text for text, _ in texts(figure)}
    assert {str(state) for state in graph} <= shown


@pytest.mark.parametrize("states", range(2, 9))
def test_nothing_covers_anything_in_random_graphs(states: int) -> None:
    graph = _graph(states, changes=2 * states - 2, seed=states)
    _check(draw_graph(graph), graph)
    bare = draw_graph(graph, 11.0, with_table=False)
    _check(bare, graph)
    assert not any(text.startswith("state ") for text, _ in texts(bare))
    for centre, radius in discs(bare):
        assert (centre - radius >= 0).all() and (centre + radius <= bare.bbox.max).all(), "a disc is cut by the edge"


def _tracked(credences: np.ndarray, strata: np.ndarray = STRATA, steps: np.ndarray | None = None) -> LandscapeTracker:
    tracker = LandscapeTracker(strata)
    for step, credence in zip(np.arange(len(credences)) if steps is None else steps, credences, strict=True):
        tracker.update(int(step), credence)
    return tracker


def _groks(forgets: bool = False) -> LandscapeTracker:
    steps = np.unique(np.geomspace(1, 9000, 110).round())
    credences = grokking(steps, generalised=1000.0)
    if forgets:
        credences[steps > 4000] = credences[np.flatnonzero(steps < 500)[-1]]
    return _tracked(credences, steps=steps)


def _restless() -> LandscapeTracker:
    """Two states in turns, ever shorter on the axis of log-steps: the numbers have no room beside each other."""
    low, high = np.full(PROBES, 0.05), np.full(PROBES, 0.95)
    truth = np.arange(4000) // 200 % 2
    tracker = LandscapeTracker(STRATA, max_window=30)
    for step in range(0, 4000, 5):
        tracker.update(step, high if truth[step] else low)
    return tracker


SITUATIONS: dict[str, Callable[[], LandscapeTracker]] = {
    "groks": _groks,
    "forgets": lambda: _groks(forgets=True),
    "restless": _restless,
    "one state": lambda: _tracked(np.full((40, PROBES), 0.5)),
    "certain": lambda: _tracked(np.ones((40, PROBES))),
    "no state": lambda: _tracked(np.random.default_rng(0).uniform(size=(6, PROBES))),
    "one evaluation": lambda: _tracked(np.full((1, PROBES), 0.5)),
    "other strata": lambda: _tracked(
        np.full((40, PROBES), 0.5), np.resize(["seen", "unseen", "corrupted", "rare", "new"], PROBES)
    ),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_nothing_covers_anything_in_the_landscape_of(situation: str) -> None:
    tracker = SITUATIONS[situation]()
    graph = tracker.graph()
    figure = draw_landscape(tracker.trajectory, graph)
    _check(figure, graph)
    credence = figure.findobj(lambda artist: getattr(artist, "get_ylabel", str)() == "mean credence")
    assert credence[0].get_ylim() == (0, 1)


@pytest.mark.parametrize("name", RECORDED)
def test_nothing_covers_anything_in_a_real_run(shared_data: Path, name: str) -> None:
    tracker = replay(shared_data, name)
    graph = tracker.graph()
    figure = draw_landscape(tracker.trajectory, graph)
    _check(figure, graph)
    merged = merge_runs([tracker, replay(shared_data, "grok_sq_s0")])
    _check(draw_graph(merged), merged)


def test_the_figure_numbers_every_visit() -> None:
    tracker = _groks(forgets=True)
    assert [state for state, _, _ in visits(tracker.trajectory)] == [0, 1, 2, 1]
    figure = draw_landscape(tracker.trajectory, tracker.graph())
    texts = {text.get_text() for axes in figure.axes for text in axes.texts}
    assert {"0", "1", "2"} <= texts
    assert any("0 → 1" in text and "memorisation" in text for text in texts)


def test_strata_beyond_the_fourth_are_drawn_and_named() -> None:
    tracker = SITUATIONS["other strata"]()
    figure = drawn(draw_landscape(tracker.trajectory, tracker.graph()))
    names = tracker.strata.names
    looks = {(line.get_color(), line.get_linestyle()) for line in figure.subfigs[0].axes[0].lines}
    assert len(looks) == 5, "two strata look alike"
    assert {*names, f"{names[0]} fallibility / nats"} <= {text for text, _ in texts(figure)} and len(names) == 5


def test_merged_runs_say_how_many_runs_were_in_a_state() -> None:
    merged = merge_runs([_groks(), _groks(forgets=True)])
    figure = draw_graph(merged)
    _check(figure, merged)
    table = next(text for text, _ in texts(figure) if text.startswith("state"))
    assert table.splitlines()[0].split() == ["state", "train", "val", "steps", "runs"]
    assert "memorisation" in table and "1 → 2" in table and "nan" not in table


def test_a_crowd_of_states_is_cut_short_in_the_table_alone() -> None:
    graph = _graph(states=30, changes=40, seed=0)
    figure = drawn(draw_graph(graph))
    check_texts(figure)
    assert len(discs(figure)) == 30 and len(arrows(figure)) == 40
    table = next(text for text, _ in texts(figure) if text.startswith("state"))
    assert table.count("\n...") == 2


def test_few_evaluations_are_drawn_with_markers() -> None:
    """A single point has no line, and a figure of it was blank."""
    for count, mark in ((1, "o"), (2, "o"), (60, "None")):
        tracker = _tracked(np.full((count, PROBES), 0.1), steps=np.arange(count) * 10)
        figure = drawn(draw_landscape(tracker.trajectory, tracker.graph()))
        lines = [line for axes in figure.subfigs[0].axes for line in axes.lines]
        assert len(lines) == 4 and {str(line.get_marker()) or "None" for line in lines} == {mark}
