# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from lightning_monocon.runs.record import History, late_change, mean_line, read_history
from lightning_monocon.scorecard.flags import training_flags


def write(path: Path, *rows: object, tail: str = "") -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + tail, encoding="utf-8")
    return path


def test_metrics_come_by_epoch_and_the_last_record_of_an_epoch_counts(tmp_path: Path) -> None:
    path = write(
        tmp_path / "record.jsonl",
        {"epoch": 1, "step": 9, "metrics": {"n": 3, "word": "no number"}},
        {"epoch": 0, "step": 4, "metrics": {"n": 5.0}},
        {"epoch": 1, "step": 9, "metrics": {"n": 4, "other": 1}},
    )
    assert read_history(path).line("n") == ([0, 1], [5.0, 4.0])
    assert read_history(path).line("other") == ([1], [1.0])
    assert read_history(path).line("absent") == ([], [])


def test_a_line_cut_by_a_kill_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "r", {"epoch": 0, "metrics": {"n": 5}}, tail='{"epoch": 1, "met')
    assert read_history(path).line("n") == ([0], [5.0])


def test_values_that_are_not_finite_are_not_drawn(tmp_path: Path) -> None:
    path = write(tmp_path / "r", {"epoch": 0, "metrics": {"n": float("nan")}}, {"epoch": 1, "metrics": {"n": 2}})
    assert read_history(path).line("n") == ([1], [2.0])


def test_no_record_is_an_empty_history(tmp_path: Path) -> None:
    assert read_history(tmp_path / "absent").line("n") == ([], [])


@pytest.mark.parametrize("row", ["no json\n", "[1, 2]\n", '{"epoch": "one", "metrics": {}}\n', '{"epoch": 1}\n'])
def test_a_broken_line_is_named(row: str, tmp_path: Path) -> None:
    path = write(tmp_path / "r", {"epoch": 0, "metrics": {"n": 5}}, tail=row)
    with pytest.raises(ValueError, match=r"`path` must hold (one JSON object per line|rows with .*); line 2 of "):
        read_history(path)


def test_runs_are_averaged_where_all_of_them_were_recorded() -> None:
    runs = [History({"n": {0: 1.0, 1: 2.0, 2: 3.0}}), History({"n": {1: 4.0, 2: 9.0, 3: 1.0}})]
    assert mean_line(runs, "n") == ([1, 2], [3.0, 6.0], [2.0, 3.0], [4.0, 9.0])
    assert mean_line([], "n") == ([], [], [], [])


def test_the_encoders_share_of_a_run_is_told_apart_from_its_heads() -> None:
    run = History({"val/n": {0: 1.0}, "val/encoder/n": {0: 2.0}, "train/loss": {0: 3.0}})
    assert run.of_encoder() == History({"val/n": {0: 2.0}})
    alone = History({"val/n": {0: 1.0}, "train/loss": {0: 3.0}})
    assert alone.of_encoder() is alone


def test_the_late_change_is_that_of_the_last_quarter() -> None:
    rising = History({"n": {epoch: float(epoch) for epoch in range(100)}})
    assert late_change(rising, "n") == pytest.approx(94.5 - 69.5)
    flat = History({"n": {epoch: min(epoch, 50) / 100 for epoch in range(100)}})
    assert late_change(flat, "n") == 0
    assert math.isnan(late_change(History({"n": {epoch: 1.0 for epoch in range(9)}}), "n"))


def test_a_run_that_stopped_while_it_was_learning_is_flagged() -> None:
    def run(last: int) -> History:
        return History({"val/knn_accuracy": {epoch: min(epoch, last) / 200 for epoch in range(100)}})

    (flag,) = training_flags([run(99), run(99)])
    assert flag.startswith("still learning (val/knn_accuracy rose 12.5 points in the last quarter of the run)")
    assert training_flags([run(60)]) == training_flags([]) == training_flags([History({})]) == ()
