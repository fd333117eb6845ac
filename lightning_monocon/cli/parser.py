# SPDX-License-Identifier: Apache-2.0
"""Parse `monocon fit | validate | test | predict`: mistakes in one sentence, and a help that fits a screen."""

from __future__ import annotations

import argparse
import warnings
from itertools import chain
from typing import Any, NoReturn, cast

from jsonargparse import ActionConfigFile  # type: ignore[attr-defined]  # mypy does not see that it is exported
from lightning.pytorch.cli import LightningArgumentParser

from lightning_monocon.cli.config import OptionParser, recipe_file, stop
from lightning_monocon.cli.mistakes import explain
from lightning_monocon.cli.options import ConfigFile, flags, section

RECIPE, RUN, SAVING, WANDB, OUTPUT, CHECKPOINT = (
    "the recipe",
    "the run",
    "saving and resuming",
    "Weights & Biases",
    "what is written",
    "the checkpoint",
)
_ABOUT = {
    "fit": ("Train on a recipe.", (RECIPE, RUN, SAVING, WANDB)),
    "validate": ("Judge a checkpoint on the validation part of the data.", (RECIPE, CHECKPOINT)),
    "test": ("Judge a checkpoint on the test part of the data.", (RECIPE, CHECKPOINT)),
    "predict": ("Write the embeddings of a checkpoint.", (RECIPE, CHECKPOINT, OUTPUT)),
}
_LIGHTNINGS = {
    RECIPE: ("config", "print_config", "seed_everything"),
    SAVING: ("ckpt_path",),
    CHECKPOINT: ("ckpt_path",),
}
_CONFIG = (
    "A packaged recipe's name (`monocon recipes` lists them) or a YAML file; given twice, the second changes the first."
)
_REST = """\
data and trainer:
  --data.NAME VALUE               An argument of the recipe's data module;
                                  `--data.help CLASS` lists them.
  --trainer.NAME VALUE            An argument of Lightning's Trainer, such as
                                  max_epochs, accelerator, devices, precision.
  --trainer.callbacks+=CLASS      One more callback; `--trainer.callbacks.help
                                  CLASS` lists its arguments.

`monocon {command} --help-all` lists everything.
"""


class MonoConParser(OptionParser, LightningArgumentParser):
    """LightningArgumentParser with one sentence for a mistake, and the options of the command itself as its help.

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
            settings |= {"action": ConfigFile, "help": _CONFIG}
        return cast("argparse.Action", super().add_argument(*flags, sub_configs=sub_configs, **settings))

    def config_file(self, name: str) -> str:
        """Return the file of a recipe, given by its name or its path."""
        return recipe_file(name, self.remote)

    def of_command(self, command: str) -> None:
        """Become the parser of one command: its help is short, and ``--help-all`` has the rest."""
        self.command = command
        self.add_argument("--help-all", action=_HelpAll)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print one sentence and exit with status 2."""
        if not self.exit_on_error:
            super().error(message, ex)
        command = self.command or next((name for name in _ABOUT if f" {name}." in message), None)
        stop(explain(message, f"monocon {command}" if command else "monocon", self._names()))

    def format_help(self, formatter: argparse.HelpFormatter | None = None) -> str:
        """Return the options of the command itself, by subject."""
        if self.command is None:
            return str(super().format_help(formatter))
        about, titles = _ABOUT[self.command]
        parts = [f"usage: monocon {self.command} --config RECIPE [OPTIONS]\n\n{about}\n"]
        parts += [section(title, self._of(title)) for title in titles]
        parts.append(section("the model", [action for action in self._actions if action.dest.startswith("model.")]))
        return "\n".join([*parts, _REST.format(command=self.command)])

    def format_everything(self) -> str:
        """Return jsonargparse's help on every option."""
        with warnings.catch_warnings():  # it looks for each class in all packages above it, old paths included
            warnings.filterwarnings("ignore", ".* has moved to ", DeprecationWarning)
            return str(super().format_help())

    def _of(self, title: str) -> list[argparse.Action]:
        """Return the options of one subject; Lightning adds a few of them itself."""
        lightnings = [action for action in self._actions if action.dest in _LIGHTNINGS.get(title, ())]
        ours = [group._group_actions for group in self._action_groups if group.title == title]
        return [*lightnings, *(action for actions in ours for action in actions)]

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
        print(parser.format_everything())
        parser.exit()
