# SPDX-License-Identifier: Apache-2.0
"""The options of every command: two spellings, files of options, mistakes in one sentence, and light imports."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from reliability.hostile import PLANTED, refused, trap

from lightning_monocon.cli import compare, export, landscape, main, score, shrink
from lightning_monocon.cli.imports import import_policy
from lightning_monocon.cli.options import CommandParser
from lightning_monocon.cli.parser import MonoConParser

PARSERS: dict[str, Callable[[], CommandParser]] = {
    "compare": compare.parser,
    "score": score.parser,
    "export": export.parser,
    "landscape": landscape.parser,
    "shrink": shrink.parser,
}
NEEDED = {
    "compare": ["--config=digits", "--out=o"],
    "score": ["f.npz"],
    "export": ["--ckpt=c", "--config=digits", "--out=o"],
    "landscape": ["run"],
    "shrink": ["f.npz", "--out=o"],
}
LIGHTNINGS = {"--seed_everything", "--ckpt_path", "--print_config", "--weights_only", "--return_predictions"}
"""Flags without a dot that Lightning or jsonargparse spells."""


def own_flags(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.Action]]:
    for action in parser._actions:
        for flag in action.option_strings:
            if flag.startswith("--") and "." not in flag and flag not in LIGHTNINGS:
                yield flag, action


def sample(action: argparse.Action) -> str:
    """A value that the option takes, and not its default."""
    hint = getattr(action, "_typehint", None) or action.type
    if get_origin(hint) is list:
        return "[x]"
    kinds = [kind for kind in get_args(hint) or (hint,) if kind is not type(None)]
    if isinstance(kinds[0], str):
        return str(kinds[-1])
    return {bool: str(not action.default).lower(), int: "7", float: "2.5"}.get(kinds[0], "x")


@pytest.mark.parametrize("command", PARSERS)
def test_a_command_takes_both_spellings_of_its_flags(command: str) -> None:
    for flag, action in own_flags(PARSERS[command]()):
        if "-" in flag[2:] and flag != "--help":
            old = "--" + flag[2:].replace("-", "_")
            words = [] if action.nargs == 0 else [sample(action)]
            new_options, old_options = (
                PARSERS[command]().parse([*NEEDED[command], name, *words]) for name in (flag, old)
            )
            assert new_options == old_options
            assert new_options[0][action.dest] != PARSERS[command]().parse(NEEDED[command])[0][action.dest]


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_a_command_of_the_trainer_takes_both_spellings_of_its_flags(
    command: str, trainers: dict[str, MonoConParser]
) -> None:
    parser, tried = trainers[command], 0
    needed = ["--data=lightning_monocon.data.DigitsData", "--model.encoder=lightning_monocon.encoders.SmallCNN"]
    for flag, action in own_flags(parser):
        if "-" in flag[2:] and flag not in ("--help-all",) and not flag.endswith("+"):
            old = "--" + flag[2:].replace("-", "_")
            new_options, old_options = (
                parser.parse_args([*needed, f"{name}={sample(action)}"]) for name in (flag, old)
            )
            assert new_options == old_options and new_options[action.dest] != action.default
            tried += 1
    assert tried == 12


def test_every_flag_of_ours_has_dashes(trainers: dict[str, MonoConParser]) -> None:
    parsers = [*trainers.values(), *(make() for make in PARSERS.values())]
    assert [flag for parser in parsers for flag, _ in own_flags(parser) if "_" in flag] == []


def test_lists_may_be_extended_in_both_spellings(trainers: dict[str, MonoConParser]) -> None:
    parser = trainers["fit"]
    needed = ["--data=lightning_monocon.data.DigitsData", "--model.encoder=lightning_monocon.encoders.SmallCNN"]
    for flag in ("--wandb-tags+", "--wandb_tags+"):
        assert parser.parse_args([*needed, "--wandb-tags=[a]", f"{flag}=b"]).wandb_tags == ["a", "b"]


def test_the_words_of_the_policy_have_both_spellings() -> None:
    dashes = import_policy(["fit", "--strict-imports", "--allow-import", "a.b", "--allow-remote-config"])
    assert import_policy(["fit", "--strict_imports", "--allow_import=a.b", "--allow_remote_config"]) == dashes


FILES = {
    "compare": ("--options", {"config": "digits", "out": "~/o", "arms": ["encoder", "mlp"], "seeds": [3], "jobs": 2}),
    "score": ("--config", {"files": ["~/g.npz", "q.npz"], "dims": [2, 4], "name": "1e5", "gallery_labels": "l"}),
    "export": ("--options", {"ckpt": "c", "config": "digits", "out": "o", "dim": 6, "forms": ["pt2"], "vectors": True}),
    "landscape": ("--config", {"runs": ["~/a", "b"], "out": "o"}),
    "shrink": ("--config", {"vectors": ["~/g.npy"], "queries": "~/q.npy", "out": "o", "keep": 0.9, "budget": 32}),
}


@pytest.mark.parametrize("command", FILES)
def test_what_a_command_prints_of_its_options_it_reads_again(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is said in a file may be said in words, and the words count for more."""
    monkeypatch.setenv("HOME", "/h")
    flag, content = FILES[command]
    (tmp_path / "first.yaml").write_text(json.dumps(content))
    options, _ = PARSERS[command]().parse([flag, str(tmp_path / "first.yaml")])
    expected = {key: _at_home(value) for key, value in content.items()}
    assert {key: options[key] for key in content} == expected
    assert PARSERS[command]().parse([flag, str(tmp_path / "first.yaml"), "--out", "p"])[0].out == "p"

    with pytest.raises(SystemExit) as stopped:
        PARSERS[command]().parse([flag, str(tmp_path / "first.yaml"), "--print-config"])
    assert stopped.value.code == 0
    (tmp_path / "again.yaml").write_text(capsys.readouterr().out)
    again, _ = PARSERS[command]().parse([flag, str(tmp_path / "again.yaml")])
    file = flag.removeprefix("--")
    assert {**again.as_dict(), file: None} == {**options.as_dict(), file: None}


@pytest.mark.parametrize("text", ["null", "#1", "5e5", "007", "a: b", ""])
def test_a_text_on_the_command_line_is_taken_as_it_is(text: str) -> None:
    """YAML reads the first two as nothing: a folder of that name would not be written, without a word."""
    options, _ = score.parser().parse(["f.npz", "--name", text, "--out", text, "--query-labels", text])
    assert (options.name, options.out, options.query_labels) == (text, text, text)
    options, _ = export.parser().parse([*NEEDED["export"], "--tokenizer", text])
    assert options.tokenizer == text


def _at_home(value: Any) -> Any:
    if isinstance(value, list):
        return [_at_home(part) for part in value]
    return value.replace("~", "/h") if isinstance(value, str) else value


@pytest.mark.parametrize(
    ("command", "words", "sentence"),
    [
        ("score", ["--dims", "two"], "`--dims` must be int; got 'two'"),
        ("export", ["--tolerance", "nan"], "`--tolerance` must be a finite number; got 'nan'"),
        ("export", ["--tolerance", "inf"], "`--tolerance` must be a finite number; got 'inf'"),
        ("score", ["--dims", "nan"], "`--dims` must be int; got 'nan'"),
        ("score", ["--dims", "0x10"], "`--dims` must be int; got '0x10'"),
        ("score", ["--dims", "1:30"], "`--dims` must be int; got '1:30'"),
        ("shrink", ["--keep", "99.5%"], "`--keep` must be float; got '99.5%'; write 0.995"),
        ("compare", ["--jobs", "50%"], "`--jobs` must be int; got '50%'"),
        ("export", ["--tolerance", "1:30.5"], "`--tolerance` must be float or null; got '1:30.5'"),
        ("compare", ["--jobs", "-1"], "`--jobs` must be a number of runs, or 0 for one per core; got -1."),
        ("score", ["--basline", "x"], "`--basline` is not an option of `monocon score`; did you mean `--baseline`?"),
        ("score", ["--dims"], "argument --dims: expected at least one argument; `monocon score --help` lists the"),
        ("export", ["--dtype", "int4"], "`code` must be float32, int8, binary, one of transform, "),
        ("export", ["--code", "int4"], "or a folder with codec.json, such as `monocon shrink` writes; got 'int4'."),
        ("export", ["--dim", "many"], "`--dim` must be int or float or null; got 'many'"),
        ("export", ["--forms", "onix"], "`--forms` must be one of 'onnx', 'pt2', 'sentence-transformers'; got 'onix'"),
        ("export", ["--model.lr", "1"], "`--model.lr` is not an option of `monocon export`; `monocon export --help`"),
        ("export", ["--vector"], "`--vector` is not an option of `monocon export`; did you mean `--vectors`?"),
        ("landscape", ["--ot", "x"], "`--ot` is not an option of `monocon landscape`; did you mean `--out`?"),
    ],
)
def test_a_mistake_is_one_sentence(
    command: str, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sentence in said([command, *NEEDED[command], *words], capsys)


def test_what_belongs_to_another_command_is_passed_on_as_it_is() -> None:
    words = ["--trainer.devices", "-1", "--model.head_options", '{"init": "identity"}', "--wandb-tags+=a"]
    options, rest = compare.parser().parse([*words[:2], "--config", "digits", "--arms", "mlp", *words[2:], "--out=o"])
    assert (options.arms, rest) == (["mlp"], words)
    assert export.parser().parse([*NEEDED["export"], "--data.seed", "-1"])[1] == ["--data.seed", "-1"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("out: a\nout: b", "has the key 'out' on lines 1 and 2"),
        ("an-option: a\nan_option: b", "has the option 'an_option' in both spellings, on lines 1 and 2"),
        ("- out", "must hold options of the command, a mapping; it holds a value of type list"),
        ("ot: a", "`ot` is not an option of `monocon {}`; did you mean `out`?"),
        ("out: {class_path: os.system}", "`--out` must be str"),
        ("out: 5", "`--out` must be str"),
    ],
)
@pytest.mark.parametrize("command", PARSERS)
def test_a_mistake_in_a_file_of_options_is_one_sentence(
    command: str, content: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "o.yaml").write_text(content)
    words = [word for word in NEEDED[command] if not word.startswith("--out")]
    found = said([command, *words, FILES[command][0], str(tmp_path / "o.yaml")], capsys)
    assert sentence.format(command) in found
    assert "line" not in sentence or f"`{FILES[command][0]}` 'o.yaml'" in found


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("compare", "`monocon compare` needs more options: give --config, --out; `monocon compare --help` says what"),
        ("export", "`monocon export` needs more options: give --ckpt, --config, --out;"),
        ("landscape", "`monocon landscape` needs at least one RUN, the folder of a run with a landscape"),
    ],
)
def test_what_is_missing_is_named(command: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert sentence in said([command], capsys)


def said(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The sentence with which a command stops."""
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1 and "usage:" not in error
    return error.removeprefix("monocon: error: ")


@pytest.mark.parametrize("command", PARSERS)
def test_a_file_of_options_imports_and_downloads_nothing(command: str, tmp_path: Path) -> None:
    """Not even what the policy would allow: none of these options is a class, and no file may lie elsewhere."""
    flag = FILES[command][0]
    with trap(tmp_path) as (planted, port):

        def refuses(place: str) -> bool:
            return refused(lambda: PARSERS[command]().parse([*NEEDED[command], flag, place]))

        for action in PARSERS[command]()._actions:
            for content in (
                f"{action.dest}: {{class_path: {PLANTED}.Encoder, init_args: {{in_features: 1, out_features: 1}}}}",
                f"{action.dest}: [{PLANTED}.hook, {{class_path: {PLANTED}.Encoder}}]",
                f"{action.dest}: {planted.url(port, tmp_path / 'other.yaml')}",
            ):
                file = planted.yaml(content)
                refuses(str(file))
                assert refuses(planted.url(port, file)) and refuses(content)
        assert refuses(str(planted.yaml("out: !!python/object/apply:os.mkdir [MARK]")))
        assert not planted.sprung


@pytest.mark.parametrize("command", PARSERS)
def test_the_help_needs_neither_torch_nor_lightning(command: str) -> None:
    code = (
        "import sys\nfrom lightning_monocon.cli import main\n"
        f"try: main([{command!r}, '--help'])\nexcept SystemExit as stopped: assert not stopped.code\n"
        "heavy = {'torch', 'lightning', 'numpy', 'matplotlib', 'transformers'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    lines = told.stdout.splitlines()
    assert lines[0].startswith(f"usage: monocon {command} ") and max(map(len, lines)) <= 80
    for flag, _ in own_flags(PARSERS[command]()):
        assert f"\n  {flag}" in told.stdout
