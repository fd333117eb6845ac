# SPDX-License-Identifier: Apache-2.0
"""The table and the summary that loggers take: one for the report of a run and for a comparison."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from lightning.pytorch.loggers import CSVLogger
from oracles import wandb_log

from lightning_monocon.callbacks import RunReport
from lightning_monocon.cli.mirror import mirror
from lightning_monocon.loggers.record import RecordLogger
from lightning_monocon.scorecard import EmbeddingSet, Scorecard, build
from lightning_monocon.scorecard.render.logged import logged_summary, logged_table

Planted = Callable[..., EmbeddingSet]


def test_a_run_and_a_comparison_log_the_same_columns_and_keys(
    planted: Planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lightning_monocon.scorecard.draw", lambda *_: {})
    sets = {name: planted(arm=name, draw=draw, rows=(120, 60)) for draw, name in enumerate(("encoder", "head"))}

    card = build({name: [data] for name, data in sets.items()})
    mirror(tmp_path / "compared", card, {}, mode="offline", project=None, group=None)
    (file,) = (tmp_path / "compared").glob("wandb/offline-run-*/*.wandb")
    log = wandb_log.read_finished(file)
    (table,) = log.column("scorecard/arms.path")
    compared = json.loads((file.parent / "files" / table).read_text())

    loggers = [CSVLogger(tmp_path, name="csv", version=""), RecordLogger(tmp_path / "record.jsonl")]
    RunReport(str(tmp_path))._report(SimpleNamespace(loggers=loggers), sets)
    with (tmp_path / "csv" / "scorecard_arms.csv").open() as lines:
        columns, *rows = csv.reader(lines)
    (event,) = map(json.loads, (tmp_path / "record.jsonl").read_text().splitlines())

    assert columns == compared["columns"]
    assert rows == [[*map(str, row)] for row in compared["data"]]
    summary = {name: value for name, value in event.items() if name.startswith("scorecard/")}
    assert summary == {
        name: value
        for name, value in log.summary.items()
        if name.startswith("scorecard/") and not name.startswith("scorecard/arms")
    }


def test_the_summary_has_means_over_seeds_and_the_best_at_each_size(card: Scorecard) -> None:
    summary = logged_summary(card)
    assert summary["scorecard/twin/n99"] == card.arm("twin").spread("n99")[0]
    assert summary["scorecard/twin/recall@5"] == pytest.approx(
        sum(score.recall[5] for score in card.arm("twin").scores) / 3
    )
    assert summary["scorecard/narrow/verdict"] == "compact"
    best = card.winners[-1]
    assert summary["scorecard/best_at_16"] == best.arm + ("" if best.distinguishable else " (within the noise)")
    assert "scorecard/n99" not in summary, "of four arms none is the run's own"


def test_a_single_arm_is_there_without_its_name_too(sets: dict[str, list[EmbeddingSet]]) -> None:
    for names in (("encoder",), ("encoder", "narrow")):
        card = build({name: sets[name] for name in names}, brief=True)
        summary = logged_summary(card)
        assert summary["scorecard/knn_accuracy"] == card.arms[-1].spread("knn_accuracy")[0]
        assert summary["scorecard/verdict"] == card.arms[-1].verdict.word


def test_the_table_has_a_row_for_each_arm_and_seed(card: Scorecard) -> None:
    columns, rows = logged_table(card)
    assert [(row[0], row[1]) for row in rows] == [(arm.name, seed) for arm in card.arms for seed in arm.seeds]
    assert all(len(row) == len(columns) for row in rows)
    figures = dict(zip(columns, rows[6], strict=True))
    score = card.arm("narrow").scores[0]
    assert (figures["dim"], figures["recall@1"], figures["verdict"]) == (4, score.recall_at_1, "compact")
