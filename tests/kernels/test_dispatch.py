# SPDX-License-Identifier: Apache-2.0
"""The switch: what each backend means on each kind of machine, and measurements that overrule the table."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers.scripts import run_two_ranks

from lightning_monocon.kernels import dispatch
from lightning_monocon.kernels.dispatch import key, measure, use_triton

TABLE = {"sm_90": 100}


@pytest.fixture(autouse=True)
def no_measurements(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An empty folder for measurements, and none in memory."""
    monkeypatch.setenv("MONOCON_CACHE", str(tmp_path))
    dispatch._measured.cache_clear()
    yield
    dispatch._measured.cache_clear()


def on_card(rows: int, dtype: torch.dtype = torch.float32) -> SimpleNamespace:
    """What `use_triton` looks at in a tensor, as if it were on a card."""
    return SimpleNamespace(device=torch.device("cuda", 0), dtype=dtype, shape=(rows, 8))


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with an sm_90 card and Triton."""
    monkeypatch.setattr(dispatch, "architecture", lambda device: "sm_90")
    monkeypatch.setattr(dispatch, "triton_version", lambda: "3.7.1")
    monkeypatch.setattr(dispatch, "in_transform", lambda *tensors: False)


@pytest.mark.usefixtures("card")
def test_auto_follows_the_table() -> None:
    assert use_triton("supcon", "auto", TABLE, on_card(100))
    assert not use_triton("supcon", "auto", TABLE, on_card(99))
    assert not use_triton("supcon", "auto", {}, on_card(100))
    assert not use_triton("supcon", "auto", TABLE, on_card(100, torch.float64))
    assert use_triton("supcon", "triton", {}, on_card(1))
    assert not use_triton("supcon", "torch", TABLE, on_card(100))


@pytest.mark.usefixtures("card")
def test_auto_is_silent_without_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "triton_version", lambda: "")
    assert not use_triton("supcon", "auto", TABLE, on_card(100))


@pytest.mark.usefixtures("card")
@pytest.mark.parametrize("installed", ["3.2.0", "3.5.1", "2.3.1"])
def test_a_triton_that_does_not_compile_every_kernel_is_left_out(
    monkeypatch: pytest.MonkeyPatch, installed: str
) -> None:
    monkeypatch.setattr(dispatch, "triton_version", lambda: installed)
    assert not use_triton("supcon", "auto", TABLE, on_card(100))
    with pytest.raises(RuntimeError, match=rf"needs Triton 3.6 or newer; got {installed}: upgrade it"):
        use_triton("supcon", "triton", TABLE, on_card(100))


@pytest.mark.parametrize("installed", ["3.6.0", "3.10.1+git1", "4.0", "unknown"])
def test_newer_tritons_are_taken(monkeypatch: pytest.MonkeyPatch, installed: str) -> None:
    monkeypatch.setattr(dispatch, "triton_version", lambda: installed)
    assert dispatch.has_triton()


@pytest.mark.usefixtures("card")
def test_a_measurement_overrules_the_table_and_is_kept(tmp_path: Path) -> None:
    steps = {"triton": lambda: time.sleep(0.002), "torch": lambda: None}
    assert measure("supcon", on_card(120), steps, rounds=3) == "torch"
    dispatch._measured.cache_clear()
    assert not use_triton("supcon", "auto", TABLE, on_card(120))
    assert not use_triton("supcon", "auto", TABLE, on_card(128)), "the same power of two"
    assert use_triton("supcon", "auto", TABLE, on_card(129))
    assert [path.name for path in tmp_path.iterdir()] == ["kernels.json"]


@pytest.mark.usefixtures("card")
@pytest.mark.parametrize("content", ["", "[1]", "{"], ids=["empty", "a list", "cut short"])
def test_a_broken_file_of_measurements_is_as_good_as_none(content: str, tmp_path: Path) -> None:
    (tmp_path / "kernels.json").write_text(content)
    assert use_triton("supcon", "auto", TABLE, on_card(100))


def test_ranks_take_the_word_of_rank_0_and_it_alone_writes(tmp_path: Path) -> None:
    run_two_ranks(Path(__file__).parents[1] / "processes" / "dispatch_ranks.py", tmp_path)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert (first["alone"], second["alone"]) == ("torch", "triton")
    for rank in (first, second):
        assert rank["measured"] == "torch"
        assert not rank["takes triton"]
        assert rank["on disk"] == {"supcon/sm_90/float32/128x8": "torch"}
    assert first["written"] == [str(tmp_path / "kernels.json")]
    assert second["written"] == []


def test_auto_on_a_cpu_is_torch_even_under_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert not use_triton("supcon", "auto", {"cpu": 0}, torch.ones(3, 2))


def test_names() -> None:
    assert dispatch.architecture(torch.device("meta")) == "meta"
    assert key("head", "sm_80", torch.empty(3, 5, 7, dtype=torch.bfloat16)) == "head/sm_80/bfloat16/16x7"
