# SPDX-License-Identifier: Apache-2.0
"""The command `monocon`.

`monocon --version` and `monocon recipes` answer without importing torch or Lightning; every other
command imports its home when it is called.
"""

import sys
from collections.abc import Sequence
from importlib import import_module

from lightning_monocon import recipes
from lightning_monocon.cli.mistakes import in_one_sentence
from lightning_monocon.cli.words import stop

__all__ = ["main"]

_TRAINER = "lightning_monocon.cli.trainer"
_HOMES = {
    "fit": _TRAINER,
    "validate": _TRAINER,
    "test": _TRAINER,
    "predict": _TRAINER,
    "compare": "lightning_monocon.cli.compare",
    "score": "lightning_monocon.cli.score",
    "export": "lightning_monocon.cli.export",
    "landscape": "lightning_monocon.cli.landscape",
}

_HELP = """\
usage: monocon COMMAND [OPTIONS]

  fit          train:                         monocon fit --config digits
  validate     metrics on the validation part of a checkpoint
  test         metrics on the test part of a checkpoint
  predict      embeddings of a checkpoint
  compare      train the rivals, then judge:  monocon compare --config digits --out OUT
  score        judge embeddings from files:   monocon score gallery.parquet query.parquet
  export       small vectors for everyone:    monocon export --ckpt CKPT --config digits --out OUT
  landscape    merge watched runs, weigh laws: monocon landscape runs/a runs/b --out OUT
  recipes      list the packaged recipes; `monocon recipes NAME` prints one

`monocon COMMAND --help` lists the options of a command. `--config` takes the name of a packaged
recipe or the path of a YAML file. A YAML file names classes to import: treat it as code, or run it
with --strict-imports, which imports nothing but this package, torch.nn, torch.optim, torch.utils.data
and lightning.pytorch; --allow-import NAME adds to them, --allow-remote-config takes a URL. With the
environment variable MONOCON_TRACEBACK=1 an error shows where it was raised.
"""


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line.

    Args:
        args: The words after `monocon`; those of the process by default.

    Raises:
        SystemExit: With status 2 if the command, the recipe or an option does not fit, with 1 if the run failed.
    """
    command, *rest = (sys.argv[1:] if args is None else list(args)) or ["--help"]
    if command in {"-h", "--help"}:
        print(_HELP, end="")
    elif command == "--version":
        print(f"monocon {_version()}")
    elif command == "recipes":
        _recipes(rest)
    elif command in _HOMES:
        with in_one_sentence():
            import_module(_HOMES[command]).run([command, *rest])
    else:
        stop(f"`COMMAND` must be one of {', '.join([*_HOMES, 'recipes'])}; got {command!r}")


def _recipes(words: list[str]) -> None:
    """List the recipes with one line each, or print the one that is named."""
    if {"-h", "--help"} & set(words):
        print("usage: monocon recipes [NAME]\n\nList the packaged recipes, or print the file of one.")
    elif len(words) > 1:
        stop(f"`monocon recipes` takes at most one name; got {' '.join(words)!r}")
    elif words:
        try:
            print(recipes.path(words[0]).read_text(encoding="utf-8"), end="")
        except ValueError as error:
            stop(str(error))
    else:
        width = max(map(len, recipes.names()), default=0)
        for name in recipes.names():
            print(f"{name:<{width}}  {recipes.summary(name)}")


def _version() -> str:
    from importlib.metadata import version  # 0.1 s of imports that no other command needs

    return version("lightning-monocon")
