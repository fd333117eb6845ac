# SPDX-License-Identifier: Apache-2.0
"""From run folders to files: what a comparison leaves on disk."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.patience import PATIENCE
from torch import Tensor

from lightning_monocon.scorecard import EmbeddingSet, Scorecard, draw, report

Digits = tuple[Tensor, Tensor, Tensor, Tensor]
ARMS = ("encoder", "bottleneck-4", "head")
PICTURES = {
    f"{name}.png"
    for name in ("frontier", "storage", "recall", "spectrum", "correlation", "training", "dynamics", "limit")
}
FILES = {"scorecard.json", "scorecard.md", "scorecard.html", *PICTURES}


def leave_runs(out: Path, digits: Digits, seeds: range = range(2)) -> None:
    """Runs as trainings leave them: pixels, four random directions of them, and a squashed copy."""
    gallery, labels, query, truth = (part[:400] for part in digits)
    for seed in seeds:
        turn = torch.randn(64, 4, generator=torch.Generator().manual_seed(seed))
        for arm, rows in zip(ARMS, zip(*((x, x @ turn, x.tanh()) for x in (gallery, query)), strict=True), strict=True):
            folder = out / "runs" / f"{arm}-seed{seed}"
            data = EmbeddingSet(rows[0], labels, rows[1], truth, arm=arm, seed=seed)
            data.save(folder / "embeddings.safetensors")
            dimensions = [{"val/effective_dimension": 9 - e, "val/encoder/effective_dimension": e} for e in range(5)]
            learnt = [{"val/knn_accuracy": e / 5, "train/loss": 5.0 - e} for e in range(5)]
            record = [
                {"epoch": e, "step": e, "metrics": metrics | more}
                for e, (metrics, more) in enumerate(zip(dimensions, learnt, strict=True))
            ]
            (folder / "record.jsonl").write_text("".join(json.dumps(row) + "\n" for row in record))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> tuple[Path, Scorecard]:
    out = tmp_path_factory.mktemp("compare")
    leave_runs(out, digits)
    return out, report(out, ARMS)


def test_everything_is_written_and_nothing_else(finished: tuple[Path, Scorecard]) -> None:
    out, card = finished
    assert {path.name for path in out.iterdir()} - FILES == {"runs"}
    assert json.loads((out / "scorecard.json").read_text())["baseline"] == "encoder"
    text = (out / "scorecard.md").read_text()
    assert all(f"]({name})" in text for name in PICTURES)
    assert [arm.seeds for arm in card.arms] == [(0, 1)] * 3


def test_the_figures_are_pictures(finished: tuple[Path, Scorecard]) -> None:
    from matplotlib.image import imread

    for path in finished[0].glob("*.png"):
        image = imread(path)
        assert image.shape[1] > 600, path.name
        assert len(np.unique((255 * image[..., :3]).astype(np.uint32) @ (65536, 256, 1))) > 20, f"{path.name} is blank"


def test_the_figures_have_labelled_axes_and_every_arm(finished: tuple[Path, Scorecard], digits: Digits) -> None:
    out, card = finished
    sets = [EmbeddingSet.load(out / "runs" / f"{arm}-seed0" / "embeddings.safetensors") for arm in ARMS]
    drawn = draw(card, sets)
    assert set(drawn) == PICTURES
    for name in sorted(PICTURES - {"correlation.png", "limit.png"}):
        assert all(panel.get_xlabel() for panel in drawn[name].axes), name
        assert drawn[name].axes[0].get_ylabel(), name
        (legend,) = drawn[name].legends
        assert len(legend.get_texts()) == len(ARMS)
        looks = {(line.get_linestyle(), line.get_marker()) for line in drawn[name].axes[0].lines[: len(ARMS)]}
        assert len(looks) == len(ARMS), f"the arms of {name} look alike without colour"
    assert [panel.get_title() for panel in drawn["correlation.png"].axes[: len(ARMS)]] == list(ARMS)


def test_without_records_there_are_no_dynamics(tmp_path: Path, digits: Digits) -> None:
    leave_runs(tmp_path, digits, range(1))
    for record in tmp_path.rglob("record.jsonl"):
        record.unlink()
    report(tmp_path, ARMS[:2])
    assert not (tmp_path / "dynamics.png").exists() and not (tmp_path / "training.png").exists()
    text = (tmp_path / "scorecard.md").read_text()
    assert "dynamics" not in text and "training.png" not in text


def test_an_arm_without_runs_is_named_with_those_there_are(tmp_path: Path, digits: Digits) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"`arms` must name runs under .*; there is none of 'encoder', only nothing"
    ):
        report(tmp_path, ARMS)
    leave_runs(tmp_path, digits, range(1))
    with pytest.raises(
        FileNotFoundError, match=r"there is none of 'mlp', only bottleneck-4-seed0, encoder-seed0, head"
    ):
        report(tmp_path, ("encoder", "mlp"))


def test_an_unfinished_run_is_named(tmp_path: Path, digits: Digits) -> None:
    leave_runs(tmp_path, digits, range(1))
    (tmp_path / "runs" / "head-seed0" / "embeddings.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"head-seed0 has no embeddings.safetensors: train it again"):
        report(tmp_path, ARMS)


def test_a_run_in_the_wrong_folder_is_refused(tmp_path: Path, digits: Digits) -> None:
    leave_runs(tmp_path, digits, range(1))
    path = tmp_path / "runs" / "head-seed0" / "embeddings.safetensors"
    replace(EmbeddingSet.load(path), seed=5).save(path)
    with pytest.raises(ValueError, match=r"head-seed0 holds embeddings of head, seed 5: never mix runs"):
        report(tmp_path, ARMS)


def test_the_baseline_must_be_among_the_arms(tmp_path: Path, digits: Digits) -> None:
    leave_runs(tmp_path, digits, range(1))
    with pytest.raises(ValueError, match=r"`sets` must hold the baseline 'encoder'"):
        report(tmp_path, ARMS[1:])


def test_an_arm_whose_name_starts_like_another_is_not_taken_for_it(tmp_path: Path, digits: Digits) -> None:
    leave_runs(tmp_path, digits, range(1))
    (tmp_path / "runs" / "encoder-seed0-old").mkdir()
    (tmp_path / "runs" / "my-encoder-seed1").mkdir()
    assert report(tmp_path, ("encoder",)).arms[0].seeds == (0,)


def test_the_package_needs_no_lightning_and_no_display(tmp_path: Path, digits: Digits) -> None:
    leave_runs(tmp_path, digits, range(1))
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('lightning', 'pytorch_lightning', 'matplotlib.pyplot')))\n"
        "import lightning_monocon.scorecard as s\n"
        "assert not {'matplotlib', 'sklearn', 'torchmetrics'} & set(sys.modules)\n"
        "sets = [s.EmbeddingSet.load(f'runs/{arm}-seed0/embeddings.safetensors') for arm in ('encoder', 'head')]\n"
        "s.draw(s.build({data.arm: [data] for data in sets}), sets)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
