# SPDX-License-Identifier: Apache-2.0
"""Run the command `monocon`.

Every command imports its module when it is called, so that `monocon --version`, `monocon recipes` and the help of every
command need neither torch nor Lightning.
"""

import sys
from collections.abc import Sequence
from importlib import import_module

from lightning_monocon import recipes
from lightning_monocon.cli.config import stop
from lightning_monocon.cli.mistakes import in_one_sentence, nearest
from lightning_monocon.cli.output import outliving_output

__all__ = ["main"]

_TRAINER = "lightning_monocon.cli.trainer"
_HOMES = {
    "fit": _TRAINER,
    "validate": _TRAINER,
    "test": _TRAINER,
    "predict": _TRAINER,
    "compare": "lightning_monocon.cli.compare",
    "score": "lightning_monocon.cli.score",
    "shrink": "lightning_monocon.cli.shrink",
    "load": "lightning_monocon.cli.load",
    "export": "lightning_monocon.cli.export",
    "upgrade": "lightning_monocon.cli.upgrade",
    "landscape": "lightning_monocon.cli.landscape",
    "tune": "lightning_monocon.cli.tune",
}

_HELP = """\
usage: monocon COMMAND [OPTIONS]

  fit          train a model on a recipe
                 monocon fit --config digits
  validate     judge a checkpoint on the validation part of the data
  test         judge a checkpoint on the test part of the data
  predict      write the embeddings of a checkpoint
  compare      train a model and its rivals, and judge them
                 monocon compare --config digits --out OUT
  score        judge embeddings from files
                 monocon score gallery.parquet query.parquet
  shrink       choose the smallest code that keeps the answers of your queries
                 monocon shrink vectors.parquet --queries q.npy --out OUT
  load         put codes into a store, and check that it ranks them rightly
                 monocon load OUT --into sqlite:///vectors.db
  export       write a model of small vectors that needs nothing of this package
                 monocon export --ckpt CKPT --config digits --out OUT
  upgrade      say whether a new model needs its gallery embedded again
                 monocon upgrade --old old.npz --new new.npz
  landscape    merge the semantic landscapes of runs, and fit laws
                 monocon landscape runs/a runs/b --out OUT
                 monocon landscape sweep --config grokking --vary ... --out OUT
  tune         time the GPU kernels on this machine, so that "auto" follows
                 monocon tune --rows 1024 --dim 128
  recipes      list the packaged recipes; `monocon recipes NAME` prints one

`monocon COMMAND --help` lists the options of a command. A flag may be written
with dashes or with underscores: --run-dir or --run_dir.

`--config` takes the name of a packaged recipe or the path of a YAML file. A
YAML file names classes to import: treat it as code, or run it with
--strict-imports, which allows only this package, torch.nn, torch.optim,
torch.utils.data and lightning.pytorch; --allow-import NAME adds to them, and
--allow-remote-config allows a URL. With the environment variable
MONOCON_TRACEBACK=1 an error shows where it was raised.
"""


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line.

    Args:
        args: The words after `monocon`; those of the process by default.

    Raises:
        SystemExit: With status 2 if the command, the recipe or an option does not fit, with 1 if the run failed.
    """
    with outliving_output(), in_one_sentence():
        _run(*((sys.argv[1:] if args is None else list(args)) or ["--help"]))


def _run(command: str, *words: str) -> None:
    if command in {"-h", "--help"}:
        print(_HELP, end="")
    elif command == "--version":
        print(f"monocon {_version()}")
    elif command == "recipes":
        _recipes(words)
    elif _HOMES.get(command) == _TRAINER and {"-h", "--help"} & set(words):
        import_module("lightning_monocon.cli.run_help").run([command, *words])
    elif (command, *words[:1]) == ("landscape", "sweep"):
        import_module("lightning_monocon.cli.sweep").run(words[1:])
    elif command in _HOMES:
        import_module(_HOMES[command]).run([command, *words])
    else:
        commands = [*_HOMES, "recipes"]
        stop(f"`COMMAND` must be one of {', '.join(commands)}; got {command!r}{_did_you_mean(command, commands)}")


def _did_you_mean(word: str, names: Sequence[str]) -> str:
    name = nearest(word, names)
    return f"; did you mean {name!r}?" if name else ""


def _recipes(words: Sequence[str]) -> None:
    """List the recipes, one a line, or print the one that is named."""
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
