# SPDX-License-Identifier: Apache-2.0
"""The red team: every known way to win the headline figures is flagged, and a true low-rank set passes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lightning_monocon.functional import red_flags
from lightning_monocon.heads import MonotonicMLP
from lightning_monocon.metrics import DistinctRows, EmbeddingReport
from lightning_monocon.metrics.embedding_report import Report

WIDTH, CLASSES, ROWS = 32, 12, 1000


def healthy(rank: int = WIDTH) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    mix = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=generator)).Q[:rank]
    centres = torch.randn(CLASSES, rank, generator=generator)
    labels = torch.randint(CLASSES, (ROWS,), generator=generator)
    return (centres[labels] + 0.5 * torch.randn(ROWS, rank, generator=generator)) @ mix, labels


def report_of(gallery: Tensor, labels: Tensor) -> Report:
    metrics = EmbeddingReport(labelled=True)
    for rows, known in zip(gallery.split(300), labels.split(300), strict=True):
        metrics.update(embeddings=rows, labels=known, role="gallery")
    metrics.update(embeddings=gallery[:100], labels=labels[:100], role="query")
    return metrics.report()


def names(report: Report) -> set[str]:
    return {flag.name for flag in report.flags}


@pytest.mark.parametrize("rank", [WIDTH, 4, 2])
def test_a_healthy_set_passes_whatever_its_rank(rank: int) -> None:
    report = report_of(*healthy(rank))
    assert report.flags == []
    assert report.figures["effective_dimension"] <= rank
    assert report.figures["knn_accuracy"] > 0.3


def test_the_untrained_head_is_flagged() -> None:
    rows, labels = healthy()
    torch.manual_seed(0)
    with torch.no_grad():
        head = MonotonicMLP(WIDTH, init="reference")(rows)
    report, plain = report_of(head, labels), report_of(rows, labels)
    for won in ("effective_dimension", "rmse"):
        assert report.figures[won] < 0.25 * plain.figures[won]
    assert names(report) == {"narrow_cone"}


def test_one_direction_is_flagged_where_it_is_no_cone() -> None:
    rows, labels = healthy()
    assert "one_direction" in names(report_of(rows * torch.eye(WIDTH)[0] + 1e-3 * rows, labels))


def test_the_constant_shift_cone_is_flagged_with_its_figures() -> None:
    rows, labels = healthy()
    plain, shifted = report_of(rows, labels), report_of(rows + 30.0, labels)
    assert shifted.figures["rmse"] < plain.figures["rmse"] / 10
    assert names(shifted) == {"narrow_cone"}
    assert f"mean cosine {shifted.figures['mean_cosine']:.4f}" in shifted.flags[0].message


def test_the_subsample_is_flagged() -> None:
    rows, labels = healthy()
    report = report_of(rows[:200], labels[:200])
    assert names(report) == {"small_sample"}
    assert "200 distinct rows in 32 dimensions: below 320" in report.flags[0].message


@pytest.mark.parametrize("rows", [ROWS, 200])
def test_the_duplicated_data_set_is_flagged(rows: int) -> None:
    embeddings, labels = healthy()
    report = report_of(embeddings[:rows].repeat(2, 1), labels[:rows].repeat(2))
    # Copies do not make a small sample large.
    assert names(report) == {"repeated_rows"} | ({"small_sample"} if rows < 320 else set())
    assert f"Only about {rows} of {2 * rows} rows are distinct" in report.flags[-1].message


def test_equal_rows_are_flagged_as_undefined() -> None:
    flags = red_flags({"effective_dimension": float("nan"), "mean_cosine": 1.0, "total_variance": 0.0}, WIDTH)
    assert [flag.name for flag in flags] == ["undefined", "narrow_cone"]
    assert flags[0].message == "effective_dimension is undefined: fewer than two rows, or no variance."


def test_the_report_reads_as_lines() -> None:
    lines = str(report_of(*healthy())).splitlines()
    assert any(line.startswith("fvu") for line in lines)
    assert not any(line.startswith("!") for line in lines)
    rows, labels = healthy()
    assert str(report_of(rows + 30.0, labels)).splitlines()[-1].startswith("! narrow_cone: All rows point one way")


def test_clones_and_prefixes_report_alike() -> None:
    rows, labels = healthy()
    metrics = EmbeddingReport(labelled=True).clone(prefix="val/")
    metrics.update(embeddings=rows, labels=labels, role="gallery")
    metrics.update(embeddings=rows[:100], labels=labels[:100], role="query")
    assert isinstance(metrics, EmbeddingReport)
    assert metrics.report().figures == pytest.approx(report_of(rows, labels).figures, rel=1e-5)
    assert "val/rmse" in metrics.compute()


def test_distinct_rows_do_not_depend_on_batches_and_merge() -> None:
    rows, _ = healthy()
    whole, first, second = DistinctRows(size=256), DistinctRows(size=256), DistinctRows(size=256)
    whole.update(rows.repeat(3, 1))
    for part in rows.split(170):
        first.update(part)
        second.update(part)
        second.update(part)
    first.merge_state(second)
    assert first.compute() == whole.compute()
    assert whole.compute()["rows"] == 3 * ROWS
    assert whole.compute()["distinct_rows"] == pytest.approx(ROWS, rel=3 / 16)


def test_wrong_input_is_named() -> None:
    with pytest.raises(RuntimeError, match="No gallery row yet"):
        EmbeddingReport().report()
    with pytest.raises(ValueError, match="`features` must be positive, the width of the embeddings; got 0"):
        red_flags({}, 0)
    with pytest.raises(ValueError, match="`size` must be an integer of at least 2; got 1"):
        DistinctRows(size=1)
