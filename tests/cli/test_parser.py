# SPDX-License-Identifier: Apache-2.0
import pytest

from lightning_monocon.cli import main


def test_help_all_lists_everything(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["fit", "--help-all"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert "--trainer.gradient_clip_val" in text and "--shard-rows" in text and "--model.temperature" in text
