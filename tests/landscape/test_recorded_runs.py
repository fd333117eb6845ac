# SPDX-License-Identifier: Apache-2.0
"""What a run has recorded is one line away, and damage is named."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
from helpers.watched_runs import watched

from lightning_monocon import landscape
from lightning_monocon.watching.files import write_landscape


def test_events_and_figure_in_one_line(tmp_path: Path) -> None:
    tracker = watched()
    write_landscape(tracker, tmp_path / "landscape", {"train_size": 100})
    assert landscape.events(tmp_path) == landscape.events(str(tmp_path / "landscape")) == tracker.events
    drawn = landscape.figure(tmp_path)
    credence = drawn.subfigs[0].axes[0]
    assert credence.get_lines()[1].get_ydata()[-1] == pytest.approx(tracker.trajectory.column("credence/val")[-1])


def test_a_run_without_events_and_a_torn_line_are_named(tmp_path: Path) -> None:
    for read in (landscape.events, landscape.figure):
        with pytest.raises(ValueError, match=r"`run` must be a folder with .*Train the run with `SemanticLandscape`"):
            read(tmp_path)
    write_landscape(watched(), tmp_path, {"train_size": 100})
    place = tmp_path / "events.jsonl"
    place.write_text(place.read_text()[:-30])
    with pytest.raises(ValueError, match=r"must hold a whole events\.jsonl; line \d of .* is not an event \(JSON"):
        landscape.events(tmp_path)
    (tmp_path / "tracker.pt").write_bytes((tmp_path / "tracker.pt").read_bytes()[:200])
    with pytest.raises(ValueError, match=r"`run` must hold a whole tracker\.pt"):
        landscape.figure(tmp_path)


def test_the_module_of_events_keeps_its_path() -> None:
    assert import_module("lightning_monocon.landscape.events").KINDS == landscape.KINDS
    assert callable(landscape.events)


@pytest.mark.parametrize("run", [3, None, ["runs/a"]])
def test_a_run_that_is_no_path_is_named(run: object) -> None:
    for read in (landscape.events, landscape.figure):
        with pytest.raises(TypeError, match=r"`run` must be the path .*; got (3|None|\['runs/a'\])\. Pass the folder"):
            read(run)  # type: ignore[arg-type]
