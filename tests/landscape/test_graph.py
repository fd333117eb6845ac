# SPDX-License-Identifier: Apache-2.0
"""The graph of a run."""

from __future__ import annotations

import io
import json
import warnings

import networkx as nx
import pytest
from helpers.watched_runs import watched

from lightning_monocon.landscape import garwood_interval


def test_graph_of_a_run() -> None:
    tracker = watched()
    graph = tracker.graph()
    assert list(graph.edges) == [(0, 1)]
    edge, memorised = graph.edges[0, 1], graph.nodes[0]
    assert edge["kinds"] == "grokking"
    assert edge["count"] == memorised["exits"] == 1
    assert (edge["rate_low"], edge["rate"], edge["rate_high"]) == tuple(garwood_interval(1, memorised["dwell"]))
    assert graph.nodes[1]["rate"] == 0.0
    assert graph.nodes[1]["rate_high"] == pytest.approx(3.689 / graph.nodes[1]["dwell"], rel=1e-3)
    states = tracker.trajectory.column("state")
    assert memorised["evaluations"] == (states == 0).sum()
    assert memorised["dwell"] == 25.0 * ((states == 0).sum() - 1)
    inside = tracker.trajectory.column("credence/val")[states == 0]
    assert memorised["credence/val"] == pytest.approx(inside.mean())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_graph_goes_through_graphml_and_json() -> None:
    graph = watched().graph()
    text = "\n".join(nx.generate_graphml(graph))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # networkx warns that XML from others is not to be trusted
        again = nx.read_graphml(io.BytesIO(text.encode()), node_type=int)
    assert again.nodes[0]["dwell"] == graph.nodes[0]["dwell"]
    assert again.edges[0, 1]["kinds"] == "grokking"
    json.loads(json.dumps(nx.node_link_data(graph, edges="links"), allow_nan=False))
