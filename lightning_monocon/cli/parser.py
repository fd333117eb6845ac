# SPDX-License-Identifier: Apache-2.0
"""Parse `monocon fit | validate | test | predict`, with one sentence for a mistake."""

from __future__ import annotations

import argparse
import warnings
from itertools import chain
from typing import Any, NoReturn, cast

from jsonargparse import ActionConfigFile  # type: ignore[attr-defined]  # mypy does not see that it is exported
from lightning.pytorch.cli import LightningArgumentParser

from lightning_monocon.cli.config import OptionParser, recipe_file, stop
from lightning_monocon.cli.mistakes import explain
from lightning_monocon.cli.options import ConfigFile, flags
from lightning_monocon.cli.run_options import CONFIG

_COMMANDS = ("fit", "validate", "test", "predict")


class MonoConParser(OptionParser, LightningArgumentParser):
    """LightningArgumentParser with one sentence for a mistake; the short help is in `run_help.py`.

    Args:
        args: As of LightningArgumentParser.
        remote: Whether a configuration may be read from a URL.
        kwargs: As of LightningArgumentParser.
    """

    def __init__(self, *args: Any, remote: bool = False, **kwargs: Any) -> None:  # noqa: ANN401  # Lightning's signature
        self.remote = remote
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})
        self.command: str | None = None

    def add_argument(self, *flags: str, sub_configs: bool = False, **settings: object) -> argparse.Action:
        """Add an option; ``--config``, which Lightning adds, takes the name of a recipe as well."""
        if settings.get("action") is ActionConfigFile:
            settings |= {"action": ConfigFile, "help": CONFIG}
        return cast("argparse.Action", super().add_argument(*flags, sub_configs=sub_configs, **settings))

    def config_file(self, name: str) -> str:
        """Return the file of a recipe, given by its name or its path."""
        return recipe_file(name, self.remote)

    def of_command(self, command: str) -> None:
        """Become the parser of one command, whose ``--help-all`` lists everything."""
        self.command = command
        self.add_argument("--help-all", action=_HelpAll)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print one sentence and exit with status 2."""
        if not self.exit_on_error:
            super().error(message, ex)
        command = self.command or next((name for name in _COMMANDS if f" {name}." in message), None)
        stop(explain(message, f"monocon {command}" if command else "monocon", self._names()))

    def format_help(self, formatter: argparse.HelpFormatter | None = None) -> str:
        """Return jsonargparse's help on every option."""
        with warnings.catch_warnings():  # it looks for each class in all packages above it, old paths included
            warnings.filterwarnings("ignore", ".* has moved to ", DeprecationWarning)
            return str(super().format_help(formatter))

    def _names(self) -> list[str]:
        """Return the names of all options, those of the commands included."""
        parsers: list[argparse.ArgumentParser] = [self]
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                parsers += action.choices.values()
        return flags(chain.from_iterable(each._actions for each in parsers))


class _HelpAll(argparse.Action):
    def __init__(self, option_strings: list[str], dest: str = argparse.SUPPRESS, **_: object) -> None:
        super().__init__(
            option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, help="List all options."
        )

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        assert isinstance(parser, MonoConParser)
        print(parser.format_help())
        parser.exit()
