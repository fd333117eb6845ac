# SPDX-License-Identifier: Apache-2.0
"""The files of a landscape: whole or not at all, and a damaged one is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers.watched_runs import watched

from lightning_monocon.watching.files import FOLDER, STATE, Settings, read_tracker, write_landscape

SETTINGS: Settings = {"train_size": 700, "batch_size": 64, "lr": 1e-3, "weight_decay": 1.0, "optimizer": "AdamW"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_landscape(watched(measure="logits"), tmp_path / FOLDER, SETTINGS)
    return tmp_path


def test_a_landscape_is_read_from_its_folder_or_the_run(run: Path) -> None:
    whole = watched(measure="logits")
    for place in (run, run / FOLDER):
        tracker, settings = read_tracker(place)
        assert (tracker.events, tracker.measure, settings) == (whole.events, "logits", SETTINGS)
        assert tracker.graph().nodes(data=True) == whole.graph().nodes(data=True)


def _torn(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"hello"),
        lambda path: torch.save({"a": 1}, path),
        lambda path: torch.save([1], path),
        lambda path: torch.save({"strata": ["a"], "options": {"nonsense": 1}, "state": {}, "settings": {}}, path),
        _torn,
    ],
    ids=["empty", "text", "another dictionary", "list", "other options", "cut short"],
)
def test_a_torn_or_foreign_landscape_is_named(spoil: Callable[[Path], object], run: Path) -> None:
    state = run / FOLDER / STATE
    spoil(state)
    with pytest.raises(ValueError) as error:
        read_tracker(run)
    assert str(error.value).startswith(
        f"`RUN` must hold a whole tracker.pt of `SemanticLandscape`; '{state}' ({state.stat().st_size} bytes)"
    )


def test_a_failed_write_leaves_the_landscape_of_before(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker, settings = read_tracker(run)
    before = {path: path.read_bytes() for path in (run / FOLDER).iterdir()}
    save = torch.save

    def full(content: object, path: Path) -> None:
        save(content, path)
        _torn(path)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="disk full while writing"):
        write_landscape(tracker, run / FOLDER, settings)
    assert {path: path.read_bytes() for path in (run / FOLDER).iterdir()} == before
    read_tracker(run)
