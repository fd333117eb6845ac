# SPDX-License-Identifier: Apache-2.0
"""What a YAML file and a command's words may import."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from jsonargparse import _common, _optionals
from reliability.hostile import PLANTED, YAML, refused, trap

from lightning_monocon.cli.imports import ALLOWED, DENIED, ImportPolicy, import_policy
from lightning_monocon.cli.trainer import run

SHORT = ["--trainer.fast_dev_run=true", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
DENIED_PAYLOADS = ["os.system", "Popen", "tag", "compiler", "hub", "instantiator"]


def words_of(folder: Path, *more: str) -> list[str]:
    return ["fit", "--config", "digits", "--run_dir", str(folder / "run"), *SHORT, *more]


@pytest.mark.parametrize("name", DENIED_PAYLOADS)
def test_the_deny_list_stops_what_is_known(name: str, tmp_path: Path) -> None:
    with trap(tmp_path) as (planted, _):
        assert refused(lambda: run(words_of(tmp_path, "--config", str(planted.yaml(YAML[name])))))
        assert not planted.mark.exists()


def test_the_refusal_names_the_entry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(words_of(tmp_path, "--model.encoder=torch.hub.load"))
    assert stopped.value.code == 2
    assert "Importing 'torch.hub.load' is not allowed, denied by the 'torch.hub' entry" in capsys.readouterr().err


def test_every_recipe_of_ours_runs_under_strict_imports(tmp_path: Path) -> None:
    cli = run(words_of(tmp_path, "--strict-imports"))
    assert cli.trainer.state.finished


def test_a_package_that_is_allowed_is_imported(tmp_path: Path) -> None:
    text = f"model: {{in_features: 64, encoder: {{class_path: {PLANTED}.Flat}}}}"
    with trap(tmp_path) as (planted, _):
        flat = "class Flat(torch.nn.Flatten): pass\n"
        module = tmp_path / f"{PLANTED}.py"
        module.write_text(module.read_text() + "\n" + flat)
        config = str(planted.yaml(text))
        words = words_of(tmp_path, "--config", config, "--strict-imports", "--trainer.callbacks=null")
        with contextlib.suppress(SystemExit):
            run(words)
        assert not planted.sprung
        cli = run([*words, f"--allow-import={PLANTED}"])
        assert type(cli.model.encoder).__name__ == "Flat"


def test_the_policy_goes_with_the_command() -> None:
    before = dict(_common.parsing_settings), _optionals._get_config_read_mode()
    with ImportPolicy(strict=True, allowed=("mine",)).enforced():
        assert _common.denying_import_path_entry("mine.Encoder") is None
        assert _common.denying_import_path_entry("torch.nn.Linear") is None
        assert _common.denying_import_path_entry("torch.load") == "torch.load"
        assert _common.denying_import_path_entry("lightning.pytorch.cli.instantiate_module") == "lightning.pytorch.cli"
        assert _common.denying_import_path_entry("theirs.Encoder") == "*"
        assert "s" not in _optionals._get_config_read_mode()
    with ImportPolicy().enforced():
        assert _common.denying_import_path_entry("theirs.Encoder") is None
        assert _common.denying_import_path_entry("joblib.load") == "joblib"
    assert (dict(_common.parsing_settings), _optionals._get_config_read_mode()) == before
    assert not set(ALLOWED) & set(DENIED)


def test_a_configuration_elsewhere_needs_a_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with trap(tmp_path) as (planted, port):
        text = planted.yaml("trainer: {max_epochs: 12}")
        url = planted.url(port, text)
        with pytest.raises(SystemExit):
            run(words_of(tmp_path, "--config", url))
        assert "must be a recipe's name or a local file, got the URL" in capsys.readouterr().err
        for option in ("--trainer", "--model", "--data"):  # jsonargparse reads a file for each of these too
            assert refused(lambda option=option: run(words_of(tmp_path, option, url)))
        assert planted.asked == 0
        assert refused(lambda: run(words_of(tmp_path, "--config", url, "--allow-remote-config", "--x")))
        assert planted.asked > 0


def test_the_words_of_the_policy() -> None:
    policy, rest = import_policy(["fit", "--allow-import=a.b", "--config", "digits", "--allow-remote-config"])
    assert policy == ImportPolicy(False, ("a.b",), True)
    assert rest == ["fit", "--config", "digits"]


@pytest.mark.parametrize("words", [["--allow-import"], ["--allow-import", "--strict-imports"]])
def test_allow_import_needs_a_name(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        import_policy(["fit", *words])
    assert "`--allow-import` must be followed by a package, module or class" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["*", "my-package", "jsonargparse.Namespace", ""])
def test_names_that_cannot_be_allowed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        import_policy(["fit", f"--allow-import={name}"])
    assert "`--allow-import` must be the dotted name of a package" in capsys.readouterr().err
