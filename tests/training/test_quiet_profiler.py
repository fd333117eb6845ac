# SPDX-License-Identifier: Apache-2.0
"""A run that is not profiled pays for no profiler, and one that is keeps its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.profilers import SimpleProfiler

from lightning_monocon import MonoCon
from lightning_monocon.cli import main
from lightning_monocon.training.quiet_profiler import QuietProfiler


def test_it_measures_nothing() -> None:
    profiler = QuietProfiler()
    with profiler.profile("first"), profiler.profile("second"):  # within each other, as hooks are
        pass
    assert profiler.profile("first") is profiler.profile("second")
    assert profiler.summary() == ""


@pytest.mark.parametrize(("options", "kind"), [((), QuietProfiler), (("--trainer.profiler", "simple"), SimpleProfiler)])
def test_a_run_has_it_unless_another_was_chosen(
    options: tuple[str, ...], kind: type[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []
    monkeypatch.setattr(MonoCon, "on_train_end", lambda self: seen.append(self.trainer.profiler))
    main(["fit", "--config", "grokking", "--run_dir", str(tmp_path), "--trainer.max_steps", "1", *options])
    assert [type(each) for each in seen] == [kind]
