# SPDX-License-Identifier: Apache-2.0
"""The parser of `monocon fit | validate | test | predict`: mistakes in one sentence, and a help that fits a screen."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from typing import Any, NoReturn

from lightning.pytorch.cli import LightningArgumentParser

from lightning_monocon.cli.mistakes import explain
from lightning_monocon.cli.words import stop

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
_INDENT = 34
_REST = """\
data and trainer:
  --data.NAME VALUE               an argument of the recipe's data module; `--data.help CLASS` lists them
  --trainer.NAME VALUE            an argument of Lightning's Trainer: max_epochs, accelerator, devices, precision, ...
  --trainer.callbacks+=CLASS      one callback more; `--trainer.callbacks.help CLASS` lists its arguments

`monocon {command} --help-all` lists everything.
"""


class MonoConParser(LightningArgumentParser):
    """LightningArgumentParser with one sentence for a mistake, and the options of the command itself as its help."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # Lightning's signature
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})
        self.command: str | None = None

    def of_command(self, command: str) -> None:
        """Become the parser of one command: its help is short, and ``--help-all`` has the rest."""
        self.command = command
        self.add_argument("--help-all", action=_HelpAll)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print one sentence and leave with status 2."""
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
        parts += [_section(title, self._of(title)) for title in titles]
        parts.append(_section("the model", [action for action in self._actions if action.dest.startswith("model.")]))
        return "\n".join([*parts, _REST.format(command=self.command)])

    def format_everything(self) -> str:
        """Return what jsonargparse says of every option there is."""
        return str(super().format_help())

    def _of(self, title: str) -> list[argparse.Action]:
        """The options of one subject; Lightning adds a few of them itself."""
        lightnings = [action for action in self._actions if action.dest in _LIGHTNINGS.get(title, ())]
        ours = [group._group_actions for group in self._action_groups if group.title == title]
        return [*lightnings, *(action for actions in ours for action in actions)]

    def _names(self) -> list[str]:
        """The names of all options, of the commands too."""
        parsers: list[argparse.ArgumentParser] = [self]
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                parsers += action.choices.values()
        names = {name.lstrip("-") for each in parsers for action in each._actions for name in action.option_strings}
        return sorted(name for name in names if not name.endswith((".help", "+")))


class _HelpAll(argparse.Action):
    def __init__(self, option_strings: list[str], dest: str = argparse.SUPPRESS, **_: object) -> None:
        super().__init__(
            option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, help="List all options."
        )

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        assert isinstance(parser, MonoConParser)
        print(parser.format_everything())
        parser.exit()


def _section(title: str, actions: list[argparse.Action]) -> str:
    lines = [line for action in actions if _is_shown(action) for line in _lines(action)]
    return "\n".join([f"{title}:", *lines, ""]) if lines else ""


def _is_shown(action: argparse.Action) -> bool:
    return action.help != argparse.SUPPRESS and not action.option_strings[-1].endswith(".help")


def _lines(action: argparse.Action) -> list[str]:
    flag = next(name for name in reversed(action.option_strings) if not name.endswith("+"))
    said = " ".join(_HELP.get(action.dest, action.help or "").replace("``", "").split())
    if action.default not in (None, argparse.SUPPRESS, []):
        said += f" (default: {str(action.default).lower() if isinstance(action.default, bool) else action.default})"
    width = max(60, min(120, shutil.get_terminal_size().columns)) - _INDENT
    wrapped = textwrap.wrap(said, width) or [""]
    head = f"  {flag}"
    first = [head] if len(head) >= _INDENT else [f"{head:<{_INDENT}}{wrapped.pop(0)}"]
    return [*first, *(" " * _INDENT + line for line in wrapped)]


_HELP = {
    "config": "A packaged recipe's name (`monocon recipes` lists them) or a YAML file; given twice, the second changes "
    "the first.",
    "print_config": "Print the resulting configuration and leave.",
    "seed_everything": "The seed of weights, order and augmentation.",
    "ckpt_path": "A checkpoint file that `monocon fit` wrote.",
    "model.encoder": "A class, such as lightning_monocon.encoders.SmallCNN; `--model.encoder.help CLASS` lists its "
    "arguments.",
}
"""What is said in place of Lightning's own words."""
