# SPDX-License-Identifier: Apache-2.0
"""`monocon landscape`: runs in, one report out, with its refusals in words."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import torch
from oracles.credence_paths import STRATA, grokking

from lightning_monocon.cli import main
from lightning_monocon.landscape import LandscapeTracker
from lightning_monocon.watching.files import FOLDER, STATE, Settings, write_landscape


def _write(
    folder: Path, size: int, generalised: float, probe: str = "p", measure: str = "logits", task: str = ""
) -> None:
    tracker, steps = (
        LandscapeTracker(STRATA, probe=probe, measure=measure),
        np.unique(np.geomspace(1, 9000, 110).round()),
    )
    for step, profile in zip(steps, grokking(steps, generalised=generalised, width=generalised / 16), strict=True):
        tracker.update(int(step), profile)
    settings: Settings = {"train_size": size, "batch_size": 64, "lr": 1e-3, "weight_decay": 1.0, "optimizer": "AdamW"}
    if task:
        settings["task"] = task
    write_landscape(tracker, folder / FOLDER, settings)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Eight runs of four sizes whose delay falls with the size."""
    folder = tmp_path_factory.mktemp("runs")
    paths = []
    for size in (700, 900, 1200, 1600):
        for seed in range(2):
            paths.append(folder / f"d{size}-s{seed}")
            _write(paths[-1], size, (1 + 0.1 * seed) * 1e9 * size**-2.0)
    return paths


def test_the_report_of_eight_runs(runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["landscape", *map(str, runs), "--out", str(tmp_path)])
    report, told = (tmp_path / "report.md").read_text(), capsys.readouterr().out
    assert {line for line in report.splitlines() if line[:1] not in ("!", "*", "")} - {*told.splitlines()} == {
        "## Curves"
    }
    assert "# Semantic landscape of 8 runs" in report
    assert "operationalises" in report
    assert "8 of 8 runs grokked" in report
    assert "Winner: power" in report
    assert "not_identifiable: only minibatch SGD" in report
    assert "percolation is measured from 30 on." in report
    graph = nx.node_link_graph(json.loads((tmp_path / "landscape.json").read_text()), edges="links")
    assert (graph.graph["runs"], graph.graph["coarse"]) == (8, False)
    assert (tmp_path / "graph.png").stat().st_size > 5000


def test_the_page_needs_nothing_else_and_shows_all_figures(runs: list[Path], tmp_path: Path) -> None:
    main(["landscape", *map(str, runs), "--out", str(tmp_path)])
    page = (tmp_path / "report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "") and "<script" not in page
    figures = {"runs.png", "sizes.png", "delays.png", "graph.png"}  # no geometry was measured
    assert page.count("data:image/svg+xml;base64,") == len(figures)
    assert {path.name for path in tmp_path.glob("*.png")} == figures
    assert all(f"]({name})" in (tmp_path / "report.md").read_text() for name in figures)
    for words in ("Semantic landscape of 8 runs", "grokking", "critical_power", "Budget-shift test"):
        assert words in page
    plain = json.loads((tmp_path / "report.json").read_text())
    assert plain["schema"] == "lightning-monocon/landscape/1"
    assert [run["name"] for run in plain["runs"]] == [path.name for path in runs]
    assert plain["runs"][0]["generalised"] == pytest.approx(1e9 * 700**-2.0, rel=0.02)
    assert any(event["kind"] == "grokking" for event in plain["runs"][0]["events"])
    assert [section["title"] for section in plain["sections"]][:3] == ["Events", "States", "Changes of state"]


def test_one_run_is_refused_its_laws(runs: list[Path], tmp_path: Path) -> None:
    main(["landscape", str(runs[0]), "--out", str(tmp_path)])
    report = (tmp_path / "report.md").read_text()
    assert "No law is fitted below 4 sizes and 8 generalised runs; there are 1 and 1." in report
    assert "No barrier is fitted below 5 runs that left memorising; there are 1." in report


def test_states_of_different_probes_are_kept_apart(runs: list[Path], tmp_path: Path) -> None:
    _write(tmp_path / "other", 900, 1500.0, probe="q")
    main(["landscape", *map(str, runs[:2]), str(tmp_path / "other"), "--out", str(tmp_path)])
    report = (tmp_path / "report.md").read_text()
    assert report.count("Of d700-s0, d700-s1:") == report.count("Of other:") == 2
    headings = [line for line in report.splitlines() if line.startswith("#")]
    assert len(set(headings)) == len(headings)
    assert {"## States, probe 1", "## Changes of state, probe 2"} <= set(headings)
    assert report.index("(graph.png)") < report.index("## States, probe 2") < report.index("(graph-2.png)")
    assert "3 of 3 runs grokked" in report, "laws are over all runs"
    for name, members in (("landscape.json", 2), ("landscape-2.json", 1)):
        graph = nx.node_link_graph(json.loads((tmp_path / name).read_text()), edges="links")
        assert (graph.graph["runs"], graph.graph["coarse"]) == (members, False)
    assert (tmp_path / "graph-2.png").stat().st_size > 5000


def test_runs_of_two_tasks_are_refused_by_name(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, task in (("a", "ModularAddition of 59 classes"), ("b", "ModularAddition of 23 classes")):
        _write(tmp_path / name, 900, 1500.0, task=task)
    with pytest.raises(SystemExit, match="2"):
        main(["landscape", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "out")])
    said = capsys.readouterr().err
    assert "`runs` must be of one task" in said
    assert "got ModularAddition of 59 classes in a; ModularAddition of 23 classes in b." in said
    assert not (tmp_path / "out").exists()
    _write(tmp_path / "old", 900, 1500.0)  # of an earlier release, which wrote no task
    main(["landscape", str(tmp_path / "a"), str(tmp_path / "old"), "--out", str(tmp_path / "out")])
    assert (tmp_path / "out" / "report.md").exists()


def test_runs_of_other_numbers_of_classes_are_refused_though_none_knows_its_task(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, chance in (("ten", 0.1), ("hundred", 0.01)):
        shutil.copytree(runs[0], tmp_path / name)
        place = tmp_path / name / FOLDER / STATE
        stored = torch.load(place, weights_only=True)
        stored["options"]["chance"] = chance
        torch.save(stored, place)
    with pytest.raises(SystemExit, match="2"):
        main(["landscape", str(tmp_path / "ten"), str(tmp_path / "hundred"), "--out", str(tmp_path / "out")])
    assert "`runs` must have one credence by chance, .*; got 0.1 in ten; 0.01 in hundred." in re.sub(
        r"(by chance), [^;]*;", r"\1, .*;", capsys.readouterr().err
    )
    assert not (tmp_path / "out").exists()


def test_runs_of_one_name_are_told_apart_by_their_paths(runs: list[Path], tmp_path: Path) -> None:
    for name in ("a", "b"):
        shutil.copytree(runs[0 if name == "a" else 2], tmp_path / name / "run")
    main(["landscape", *(str(tmp_path / name / "run") for name in "ab"), "--out", str(tmp_path / "out")])
    text = (tmp_path / "out" / "report.md").read_text()
    assert "| a/run |" in text and "| b/run |" in text


def test_runs_of_two_kinds_are_refused_by_name_and_nothing_is_written(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _write(tmp_path / "supcon", 900, 1500.0, measure="soft_knn at temperature 0.1")
    with pytest.raises(SystemExit, match="2"):
        main(["landscape", *map(str, runs[:2]), str(tmp_path / "supcon"), "--out", str(tmp_path / "out")])
    assert (
        "`runs` must measure credence alike, or their states mean different things; got logits in d700-s0, d700-s1; "
        "soft_knn at temperature 0.1 in supcon. Merge the runs of each measure by themselves."
    ) in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_run_of_an_earlier_version_merges_with_its_like_alone(runs: list[Path], tmp_path: Path) -> None:
    for name in ("a", "b"):
        _write(tmp_path / name, 900, 1500.0)
        file = tmp_path / name / FOLDER / STATE
        stored = torch.load(file, weights_only=True)
        del stored["options"]["measure"]
        torch.save(stored, file)
    main(["landscape", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path)])
    assert "# Semantic landscape of 2 runs" in (tmp_path / "report.md").read_text()
    with pytest.raises(SystemExit, match="2"):
        main(["landscape", str(tmp_path / "a"), str(runs[0]), "--out", str(tmp_path)])


def test_a_folder_without_a_landscape_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["landscape", str(tmp_path)])
    assert "`RUN` must be a folder with tracker.pt" in capsys.readouterr().err


def test_a_torn_landscape_is_named_and_nothing_is_written(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(runs[0], tmp_path / "run"))
    state = run / FOLDER / STATE
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(SystemExit, match="2"):
        main(["landscape", str(run), "--out", str(tmp_path / "out")])
    assert f"`RUN` must hold a whole tracker.pt of `SemanticLandscape`; '{state}' (1000" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_report_that_cannot_be_written_is_refused_first(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SystemExit, match="2"):
        main(["landscape", str(runs[0]), "--out", str(tmp_path / "file")])
    assert "cannot write" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


def test_a_run_that_is_named_twice_counts_once(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    link = tmp_path / "link"
    link.symlink_to(runs[0], target_is_directory=True)
    again = [runs[0], runs[0] / FOLDER, runs[1] / ".." / runs[0].name, link]
    main(["landscape", *map(str, [*again, runs[1]]), "--out", str(tmp_path / "out")])
    told = capsys.readouterr()
    assert "# Semantic landscape of 2 runs" in told.out
    assert told.err.count(f"is the run {runs[0]} again and counts once") == 3


def test_runs_of_few_evaluations_are_left_out_and_alone_refused(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One evaluation is no run that did not generalise: "192 samples: 0.00 (0.00 to 0.79) generalise"."""
    tracker = LandscapeTracker(STRATA, probe="p", measure="logits")
    for step in range(9):
        tracker.update(step, np.full(len(STRATA), 0.1))
    write_landscape(tracker, tmp_path / "few" / FOLDER, {"train_size": 192, "batch_size": 64})
    with pytest.raises(SystemExit, match="2"):
        main(["landscape", str(tmp_path / "few"), "--out", str(tmp_path / "alone")])
    assert "must hold a run with at least 10 evaluations" in capsys.readouterr().err
    assert not (tmp_path / "alone").exists()
    main(["landscape", str(tmp_path / "few"), str(runs[0]), "--out", str(tmp_path / "both")])
    report = (tmp_path / "both" / "report.md").read_text()
    assert "# Semantic landscape of 1 run\n" in report
    assert "Left out, with fewer than 10 evaluations: few (9)." in report
    assert "192 samples" not in report


def test_the_report_says_whose_task_it_did_not_check(runs: list[Path], tmp_path: Path) -> None:
    _write(tmp_path / "known", 700, 2000.0, task="ModularAddition of 59 classes")
    main(["landscape", str(tmp_path / "known"), str(runs[0]), "--out", str(tmp_path / "out")])
    assert f"Not checked: whether {runs[0].name} has the task" in (tmp_path / "out" / "report.md").read_text()
    main(["landscape", str(runs[0]), "--out", str(tmp_path / "alone")])
    assert "Not checked" not in (tmp_path / "alone" / "report.md").read_text()
