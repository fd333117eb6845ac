# SPDX-License-Identifier: Apache-2.0
"""Parse the options of `monocon compare | score | export | landscape`, and print options as help."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, NoReturn

from jsonargparse import ActionConfigFile, ArgumentParser, Namespace  # type: ignore[attr-defined]

from lightning_monocon.cli.config import OptionParser, expanded, stop
from lightning_monocon.cli.imports import ImportPolicy
from lightning_monocon.cli.mistakes import explain
from lightning_monocon.cli.nulls import check_nulls
from lightning_monocon.cli.yaml_files import strict_yaml

_INDENT = 34
_MISSPELT = 0.85


class ConfigFile(ActionConfigFile):
    """Read the YAML file that an option names, once its parser has found it."""

    def __call__(
        self, parser: argparse.ArgumentParser, cfg: object, values: object, option_string: str | None = None
    ) -> None:
        """Add what the file says to the options."""
        assert isinstance(parser, OptionParser)
        found = parser.config_file(str(values))
        super().__call__(parser, cfg, found, option_string)  # type: ignore[no-untyped-call]  # jsonargparse's


class CommandParser(OptionParser, ArgumentParser):
    """Parse the options of a command that has no trainer, from words and from a YAML file.

    Args:
        command: The name of the command.
        usage: Its words in short, such as ``FILE... [OPTIONS]``.
        about: A sentence or two on what it does.
        more: What follows the options in the help, printed as it is.
        file: The flag that takes a YAML file of options; in a command whose ``--config`` names a recipe, another one.
        paths: The options that are paths, in which ``~`` is replaced.
        passes_on: How other options begin that the command passes on; without it, it refuses them.
    """

    def __init__(
        self,
        command: str,
        *,
        usage: str = "",
        about: str = "",
        more: str = "",
        file: str = "--config",
        paths: Sequence[str] = (),
        passes_on: str = "",
    ) -> None:
        super().__init__(prog=f"monocon {command}", allow_abbrev=False, print_config="--print_config")
        self._usage, self._about, self._more = f"{self.prog} {usage}", about, more
        self._file, self._paths, self._passes_on = file, paths, passes_on
        self._passed: list[str] = []
        self.add_argument(file, action=ConfigFile, help="A YAML file of options; options that follow override it.")
        self._general = list(self._actions)

    def config_file(self, name: str) -> str:
        """Return the path of a file on this machine; exit with status 2 for a URL, a text or a missing file."""
        path = expanded(name)
        if not Path(path).is_file():
            stop(f"`{self._file}` must be an existing YAML file with options of the command, got {name!r}")
        return path

    def parse(self, words: Sequence[str]) -> tuple[Namespace, list[str]]:
        """Return the options of the command and the words that it passes on; exit with status 2 if one does not fit."""
        with ImportPolicy().parsing(), strict_yaml(self._file, "options of the command, a mapping"):
            options = self.parse_args(list(words))
        for word in self._passed:
            self._refuse_misspelt(word)
        try:
            check_nulls(self, options)
        except ValueError as error:
            stop(str(error))
        for name in self._paths:
            found = options.get(name)
            options[name] = [expanded(path) for path in found] if isinstance(found, list) else found and expanded(found)
        return options, self._passed

    def _parse_known_args(
        self, arg_strings: list[str], namespace: argparse.Namespace, **intermixed: bool
    ) -> tuple[argparse.Namespace, list[str]]:
        found, unknown = super()._parse_known_args(arg_strings, namespace, **intermixed)
        self._passed, rest = (unknown, []) if self._passes_on else ([], unknown)
        return found, rest

    def _refuse_misspelt(self, word: str) -> None:
        """Refuse an option that is not to be passed on, or that is nearly one of the command's own."""
        flag = word.partition("=")[0]
        own = ["--" + name for name in flags(self._actions)]
        strange = not flag.startswith(self._passes_on) or get_close_matches(flag, own, n=1, cutoff=_MISSPELT)
        if flag.startswith("--") and strange:
            self.error(f"unrecognized arguments: {word}")

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print one sentence and exit with status 2."""
        stop(explain(message, self.prog, flags(self._actions), has_recipe=False))

    def format_help(self, formatter: argparse.HelpFormatter | None = None) -> str:
        """Return what the command does, its options, and what there is to know beyond them."""
        about = "\n".join(textwrap.wrap(self._about, width()))
        own = [action for action in self._actions if action not in self._general]
        parts = [f"usage: {self._usage}\n\n{about}\n", section("options", own), section("more", self._general)]
        return "\n".join([*parts, self._more] if self._more else parts)


def add_codes(parser: CommandParser) -> None:
    """Add the option that names the families of codes by which bytes are judged."""
    parser.add_argument(
        "--codes",
        type=Literal["fast", "all"],
        default="fast",
        help="Codes that compete at each number of bytes: those that take seconds to fit, or all families that "
        "`monocon shrink` tries, which take minutes for each arm and seed and need the extra `search`.",
    )


def flags(actions: Iterable[argparse.Action]) -> list[str]:
    """Return the names of options without their dashes, but for the variants that jsonargparse adds."""
    names = {name.lstrip("-") for action in actions for name in action.option_strings}
    return sorted(name for name in names if not name.endswith((".help", "+")))


def section(title: str, actions: Iterable[argparse.Action]) -> str:
    """Return the help of some options below a title; nothing if none of them is shown."""
    lines = [line for action in actions if _is_shown(action) for line in _lines(action)]
    return "\n".join([f"{title}:", *lines, ""]) if lines else ""


def width() -> int:
    """Return the columns that a help text may take."""
    return max(60, min(120, shutil.get_terminal_size().columns))


def _is_shown(action: argparse.Action) -> bool:
    return action.help != argparse.SUPPRESS and not (action.option_strings or [action.dest])[-1].endswith(".help")


def _lines(action: argparse.Action) -> list[str]:
    names = [name for name in reversed(action.option_strings) if not name.endswith("+")]
    flag = names[0] if names else f"{action.metavar}..."
    if names and str(action.metavar).startswith(("{", "[")):  # the choices, or a list
        flag += f" {action.metavar}"
    flag += " ..." * (action.nargs == "+")
    said = " ".join(HELP.get(action.dest, action.help or "").replace("``", "").split())
    if action.default not in (None, argparse.SUPPRESS, []) and "(default:" not in said:
        said = f"{said.removesuffix('.')} (default: {_readable(action.default)})."
    wrapped = textwrap.wrap(said, width() - _INDENT) or [""]
    head = f"  {flag}"
    first = [head] if len(head) >= _INDENT else [f"{head:<{_INDENT}}{wrapped.pop(0)}"]
    return [*first, *(" " * _INDENT + line for line in wrapped)]


def _readable(default: object) -> str:
    if isinstance(default, list | tuple):
        return " ".join(map(str, default))
    return str(default).lower() if isinstance(default, bool) else str(default)


HELP = {
    "help": "Print this help and exit.",
    "print_config": "Print the resulting configuration as YAML and exit.",
    "seed_everything": "The seed of weights, order and augmentation.",
    "ckpt_path": "A checkpoint file that `monocon fit` wrote.",
    "model.encoder": "A class, such as lightning_monocon.encoders.SmallCNN; `--model.encoder.help CLASS` lists its "
    "arguments.",
}
"""Help texts that replace those of argparse, jsonargparse and Lightning."""
