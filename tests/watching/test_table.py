# SPDX-License-Identifier: Apache-2.0
"""The lines and rows in which a landscape is told."""

from __future__ import annotations

import networkx as nx

from lightning_monocon.landscape import Event
from lightning_monocon.watching.table import COLUMNS, event_line, event_table, landscape_table, rate


def test_rows_of_events_hold_none_where_nothing_was_measured() -> None:
    (row,) = event_table([Event("jump", 5, 6, 7, 0, 1)])
    told = dict(zip(COLUMNS, row, strict=True))
    assert told["abruptness"] is None
    assert (told["kind"], told["step_left"], told["target"], told["group"]) == ("jump", 5, 1, None)


def test_lines_of_events_inside_a_state_and_of_groups() -> None:
    assert event_line(Event("collapse", 5, 6, 7, 2, 2)) == (
        "collapse: in state 2, left at step 5, entered 6, confirmed 7"
    )
    assert event_line(Event("emergence", step_entered=6, group="dog")) == "emergence: group dog, entered 6"


def test_rates_are_intervals_per_thousand_steps() -> None:
    assert rate({"rate_low": 2.5e-5, "rate_high": 0.0453}) == "0.025 to 45"
    assert rate({}) == "-"


def test_columns_are_aligned() -> None:
    graph = nx.DiGraph()
    graph.add_node(0, dwell=50.0, **{"credence/train": 0.5, "credence/val": 0.25})
    graph.add_node(10, dwell=12345.0, **{"credence/train": 1.0})
    graph.add_edge(0, 10, count=2, kinds="memorisation, partial", rate_low=1e-3, rate_high=2e-3)
    assert landscape_table(graph).splitlines() == [
        "state  train   val  steps",
        "0       0.50  0.25     50",
        "10      1.00     -  12345",
        "",
        "change  what                   times  per 1000 steps, 95 %",
        "0 → 10  memorisation, partial      2                1 to 2",
    ]
    assert landscape_table(nx.DiGraph()) == "No state was found."
