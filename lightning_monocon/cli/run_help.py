# SPDX-License-Identifier: Apache-2.0
"""Print the help of `monocon fit | validate | test | predict`: the options of the command itself, on a screen.

Importing Lightning takes seconds, and `MonoCon` derives from one of its classes. So the options of the run come from a
parser without Lightning, and those of the model from the source of `module.py`. ``--help-all`` asks the real parser.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

import docstring_parser
from jsonargparse import ArgumentParser

import lightning_monocon
from lightning_monocon.cli.config import refusing
from lightning_monocon.cli.imports import import_policy
from lightning_monocon.cli.options import section
from lightning_monocon.cli.run_options import (
    CHECKPOINT,
    CONFIG,
    OUTPUT,
    RECIPE,
    RUN,
    SAVING,
    SEED,
    WANDB,
    add_run_options,
)
from lightning_monocon.cli.yaml_files import names_a_model

_ABOUT = {
    "fit": ("Train on a recipe.", (RECIPE, RUN, SAVING, WANDB)),
    "validate": ("Judge a checkpoint on the validation part of the data.", (RECIPE, CHECKPOINT)),
    "test": ("Judge a checkpoint on the test part of the data.", (RECIPE, CHECKPOINT)),
    "predict": ("Write the embeddings of a checkpoint.", (RECIPE, CHECKPOINT, OUTPUT)),
}
_CHECKPOINT_FILE = argparse.Action(["--ckpt_path"], "ckpt_path")
_LIGHTNINGS = {  # options that Lightning adds itself
    RECIPE: [
        argparse.Action(["--config"], "config", help=CONFIG),
        argparse.Action(["--print_config"], "print_config"),
        argparse.Action(["--seed_everything"], "seed_everything", default=SEED),
    ],
    SAVING: [_CHECKPOINT_FILE],
    CHECKPOINT: [_CHECKPOINT_FILE],
}
_MODEL_FILE = Path(lightning_monocon.__file__).with_name("module.py")
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


def run(args: Sequence[str]) -> None:
    """Print the help of the command that the first word names.

    Raises:
        SystemExit: With status 0 afterwards, as a parser does; with 2 if the recipe among the words is missing or none.
    """
    policy, (command, *words) = import_policy(args)
    about, titles = _ABOUT[command]
    with refusing():
        model = [] if names_a_model(words, policy.remote, unreadable=False) else list(model_options())
    parts = [f"usage: monocon {command} --config RECIPE [OPTIONS]\n\n{about}\n"]
    parts += [section(title, run_options(title)) for title in titles]
    print("\n".join([*parts, section("the model", model), _REST.format(command=command)]), end="")
    raise SystemExit(0)


def run_options(title: str) -> list[argparse.Action]:
    """Return the options of one subject."""
    parser = ArgumentParser(add_help=False)
    add_run_options(parser)
    ours = next((group._group_actions for group in parser._action_groups if group.title == title), [])
    return [*_LIGHTNINGS.get(title, ()), *ours]


def model_options() -> Iterator[argparse.Action]:
    """Yield an option for each argument of `MonoCon`, read from its source."""
    module = ast.parse(_MODEL_FILE.read_text(encoding="utf-8"))
    kind = next(node for node in module.body if isinstance(node, ast.ClassDef) and node.name == "MonoCon")
    make = next(node for node in kind.body if isinstance(node, ast.FunctionDef) and node.name == "__init__")
    said = {each.arg_name: each.description for each in docstring_parser.parse(ast.get_docstring(kind) or "").params}
    named = [*make.args.args[1:], *make.args.kwonlyargs]
    defaults = [*make.args.defaults, *make.args.kw_defaults]
    required = [None] * (len(named) - len(defaults))
    for argument, default in zip(named, [*required, *defaults], strict=True):
        name = argument.arg
        yield argparse.Action(
            [f"--model.{name}"],
            f"model.{name}",
            default=default and ast.literal_eval(default),
            help=said[name],
            metavar=_metavar(argument.annotation),
        )


def _metavar(annotation: ast.expr | None) -> str | None:
    """Return how the help shows what an argument takes, as jsonargparse does: choices, a list, or nothing."""
    match annotation:
        case ast.Name("bool"):
            return "{true,false}"
        case ast.Subscript(ast.Name("Literal"), ast.Tuple(choices)):
            return f"{{{','.join(str(ast.literal_eval(choice)) for choice in choices)}}}"
        case ast.Subscript(ast.Name("tuple")):
            return "[ITEM,...]"
    return None
