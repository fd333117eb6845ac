# SPDX-License-Identifier: Apache-2.0
"""`monocon tune`: what it times, what it prints, and that it says so where there is nothing to time."""

from __future__ import annotations

import pytest
import torch

from lightning_monocon.cli import main
from lightning_monocon.kernels import dispatch, tuning


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card here")
def test_without_a_card_it_says_so() -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["tune"])
    assert "nothing to time: it needs a GPU and Triton 3.6 or newer; `auto` is torch." in str(stopped.value)


@pytest.mark.parametrize("words", [["--rows", "0"], ["--dim=-1"], ["--features", "0"], ["--dtype", "int8"]], ids=str)
def test_options_that_do_not_fit(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["tune", *words])
    assert stopped.value.code == 2
    assert words[0].partition("=")[0].strip("-") in capsys.readouterr().err


def test_it_prints_each_choice(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked = []

    def tune(rows: int, dim: int, **rest: object) -> dict[str, str]:
        asked.append((rows, dim, rest))
        return {"supcon": "triton", "monotone_mlp": "torch"}

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(dispatch, "triton_version", lambda: "3.7.1")
    monkeypatch.setattr(dispatch, "architecture", lambda device: "sm_89")
    monkeypatch.setattr(tuning, "tune", tune)
    main(["tune", "--rows", "64", "--dim", "8", "--dtype", "bfloat16"])
    assert asked == [(64, 8, {"features": 512, "dtype": torch.bfloat16})]
    assert capsys.readouterr().out.startswith("supcon: triton on sm_89\nmonotone_mlp: torch on sm_89\nWritten to ")
