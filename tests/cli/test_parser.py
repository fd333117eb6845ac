# SPDX-License-Identifier: Apache-2.0
import pytest

from lightning_monocon.cli import main


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_the_help_of_a_command_has_its_own_options(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: monocon {command} --config RECIPE [OPTIONS]\n")
    assert len(text.splitlines()) < 150 and max(map(len, text.splitlines())) <= 120
    own = {"fit": "--save-every-n-steps", "predict": "--shard-rows"}.get(command, "--untrained")
    others = {"--save-every-n-steps", "--shard-rows", "--untrained", "--wandb"} - {own, "--untrained"}
    assert f"\n  {own} " in text
    assert not [name for name in others - ({"--wandb"} if command == "fit" else set()) if f"\n  {name}" in text]
    assert "\nthe model:\n" in text and "\n  --model.temperature " in text


def test_help_all_lists_everything(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["fit", "--help-all"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert "--trainer.gradient_clip_val" in text and "--shard-rows" in text and "--model.temperature" in text
