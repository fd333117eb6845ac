# SPDX-License-Identifier: Apache-2.0
"""Merge several runs into one landscape.

States of runs with the same probe (the same fingerprint of inputs, labels and train/val membership) are joined by
single linkage within the outer radius of their anchors; the memorised and the generalised states of three seeds lay
within 0.01 of each other. With different probes only the mean credence per stratum can be compared: the landscape is
then ``coarse``. Rates count exits and dwell over all runs.

Credences can only be compared if they are measured alike. A class score of a classifier and a vote of an embedding's
neighbours are two scales, on which one number means two things, so runs of both kinds are refused.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import networkx as nx
import numpy as np
from scipy import stats

from lightning_monocon.landscape.events import Event
from lightning_monocon.landscape.graph import add_edge, add_rates, moves_by_edge, role_attributes
from lightning_monocon.landscape.strata import Floats
from lightning_monocon.landscape.tracker import LandscapeTracker


class Passage(NamedTuple):
    """Hold the Kaplan-Meier curve of a first passage: steps, the share of runs not yet there, and the median."""

    steps: Floats
    survival: Floats
    median: float


def merge_runs(runs: Sequence[LandscapeTracker], names: Sequence[str] = ()) -> nx.DiGraph:
    """Return one graph of all runs, with the attributes of `LandscapeTracker.graph` and the ``runs`` of each state.

    Args:
        runs: Trackers with the same strata and the same measure of credence.
        names: Names of the runs for error messages; their numbers by default.

    Raises:
        ValueError: If there is no run, or the runs differ in their strata, their roles or their measure of credence.
    """
    check_alike(runs, names)
    is_coarse = not _share_probe(runs)
    places = match_states(runs, coarse=is_coarse)
    merged = nx.DiGraph(coarse=is_coarse, runs=len(runs))
    merged.graph.update(role_attributes(runs[0].roles))
    graphs = [run.graph() for run in runs]
    for state in sorted({state for place in places for state in place}):
        visits = [(r, own) for r, place in enumerate(places) for own, new in enumerate(place) if new == state]
        visited_by = ",".join(str(r) for r in dict.fromkeys(r for r, _ in visits))
        pooled = _pool([graphs[r].nodes[own] for r, own in visits])
        merged.add_node(state, runs=len({r for r, _ in visits}), visited_by=visited_by, **pooled)
    for (source, target), moves in moves_by_edge(_relabelled(runs, places)).items():
        add_edge(merged, source, target, moves)
    for state in merged:
        add_rates(merged, state)
    return merged


def check_alike(runs: Sequence[LandscapeTracker], names: Sequence[str] = ()) -> None:
    """Raise ValueError if there is no run, or the runs differ in their strata, their roles or their measure."""
    if not runs:
        raise ValueError("`runs` must hold at least one run, got none. Name the folder of one.")
    names = names or [str(number) for number in range(len(runs))]
    by_strata: dict[str, list[str]] = {}
    for run, name in zip(runs, names, strict=True):
        by_strata.setdefault(", ".join(run.strata.names), []).append(name)
    if len(by_strata) > 1:
        found = "; ".join(f"{strata} in {', '.join(members)}" for strata, members in by_strata.items())
        raise ValueError(f"`runs` must have the same strata; got {found}. Merge the runs of each by themselves.")
    _check_measures(runs, names)
    _check_roles(runs, names)


def match_states(runs: Sequence[LandscapeTracker], *, coarse: bool) -> list[list[int]]:
    """Return the merged state of each state of each run, by single linkage within the largest outer radius.

    Args:
        runs: Trackers with the same strata, and the same probe unless ``coarse``.
        coarse: Whether to compare the mean credence per stratum rather than the credence of each probe.
    """
    reach = max(run.base.outer for run in runs)
    owners = [r for r, run in enumerate(runs) for _ in run.clustering.anchors]
    anchors = [anchor for run in runs for anchor in run.clustering.anchors]
    means = [runs[r].strata.means(anchor) for r, anchor in zip(owners, anchors, strict=True)]

    near = nx.empty_graph(len(anchors))
    for i, j in itertools.combinations(range(len(anchors)), 2):
        apart = np.abs(means[i] - means[j]).max() if coarse else runs[0].strata.distance(anchors[i], anchors[j])
        if apart <= reach:
            near.add_edge(i, j)

    numbers = {anchor: n for n, linked in enumerate(nx.connected_components(near)) for anchor in linked}
    places: list[list[int]] = [[] for _ in runs]
    for anchor, run in enumerate(owners):
        places[run].append(numbers[anchor])
    return places


def first_passage(runs: Sequence[LandscapeTracker], kind: str = "grokking") -> Passage:
    """Return the Kaplan-Meier curve of the step at which an event of one kind began; runs without it are censored."""
    left = [[e.step_left for e in run.events if e.kind == kind and e.step_left is not None] for run in runs]
    firsts = [steps[0] if steps else None for steps in left]
    lasts = [run.trajectory.steps[-1] for run in runs]
    seen = [float(first) for first in firsts if first is not None]
    unseen = [float(last) for first, last in zip(firsts, lasts, strict=True) if first is None]
    curve = stats.ecdf(stats.CensoredData(uncensored=seen, right=unseen)).sf
    steps, survival = np.asarray(curve.quantiles, float), np.asarray(curve.probabilities, float)
    half = steps[survival <= 0.5]
    return Passage(steps, survival, float(half[0]) if len(half) else math.nan)


def _check_measures(runs: Sequence[LandscapeTracker], names: Sequence[str]) -> None:
    by_measure: dict[str, list[str]] = {}
    for run, name in zip(runs, names, strict=True):
        by_measure.setdefault(run.measure or "an unknown measure", []).append(name)
    if len(by_measure) > 1:
        found = "; ".join(f"{measure} in {', '.join(members)}" for measure, members in by_measure.items())
        raise ValueError(
            f"`runs` must measure credence alike, or their states mean different things; got {found}. Merge the runs "
            "of each measure by themselves."
        )


def _check_roles(runs: Sequence[LandscapeTracker], names: Sequence[str]) -> None:
    """Refuse runs whose strata play other roles: what one run has held out, another may have trained on."""
    for run, name in zip(runs, names, strict=True):
        if run.roles != runs[0].roles:
            raise ValueError(
                f"`runs` must give the strata the same roles; got {role_attributes(runs[0].roles)} in {names[0]} and "
                f"{role_attributes(run.roles)} in {name}. Merge the runs of each by themselves."
            )


def _share_probe(runs: Sequence[LandscapeTracker]) -> bool:
    """Return whether all runs carry the same fingerprint; without fingerprints this is unknown, and False."""
    return len({(run.probe, run.strata.size) for run in runs}) == 1 and (runs[0].probe != "" or len(runs) == 1)


def _pool(nodes: list[dict[str, Any]]) -> dict[str, Any]:
    """Pool the statistics of one merged state: add times, weigh means by evaluations, keep the largest peak."""
    weights = np.array([node["evaluations"] for node in nodes], dtype=np.float64)
    pooled: dict[str, Any] = {
        n: sum(node[n] for node in nodes) for n in ("evaluations", "dwell", "log_dwell", "visits")
    }
    for name in nodes[0]:
        is_measure = name.startswith(("credence", "fallibility", "clipped")) and not name.endswith("_sd")
        if is_measure and all(name in node for node in nodes) and weights.sum() > 0:
            values = np.array([node[name] for node in nodes])
            pooled[name] = float(values.max() if name.endswith("_peak") else np.average(values, weights=weights))
    return pooled


def _relabelled(runs: Sequence[LandscapeTracker], places: list[list[int]]) -> list[Event]:
    """Return the changes of all runs between merged states; a move inside one merged state is not a change."""
    events = []
    for run, place in zip(runs, places, strict=True):
        for event in run.events:
            if event.is_transition and event.source is not None and event.target is not None:
                source, target = place[event.source], place[event.target]
                if source != target:
                    events.append(dataclasses.replace(event, source=source, target=target))
    return events
