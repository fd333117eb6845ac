# SPDX-License-Identifier: Apache-2.0
"""Explain each mistake in one sentence: a long report of jsonargparse, or an error that this package raises."""

from __future__ import annotations

import dis
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import SequenceMatcher
from types import TracebackType

from lightning_monocon.cli.config import TRACEBACK, refuse
from lightning_monocon.cli.data_classes import data_classes

_ALIKE = 0.6
_UNKNOWN_WORDS = re.compile(r"unrecognized arguments: (?P<words>.*)", re.DOTALL)
_UNKNOWN_KEY = re.compile(
    r"(?:(?:Group '(?P<group>[^']+)'|Subcommand '\w+') does not accept option|Option) '(?P<key>[^']+)'"
)
_UNKNOWN_ARGUMENT = re.compile(r"class_path '(?P<path>[^']+)':\s+Option '(?P<name>[^']+)' is not accepted")
_UNKNOWN_CLASS = re.compile(
    r"module '(?P<module>[^']+)' has no attribute '(?P<missing>\w+)'|Expected a dot import path string: (?P<name>\w+)"
)
_MISFIT_ARGUMENT = re.compile(r"class_path '[^']+':\s+Parser key \"(?P<name>[^\"]+)\":\s+(?P<reason>.*)", re.DOTALL)
_MISSING_ARGUMENT = re.compile(
    r"class_path '(?P<path>[^']+)':\s+the following arguments are required: (?P<names>[^\n]*)"
)
_MISSING = re.compile(r"the following arguments are required: (?P<names>.*)")
_KEY = re.compile(r'Parser key "(?P<key>[^"]+)"(?: element \d+)?:\s*')
_TYPES = re.compile(r"Subtypes: \[(?P<types>.*)\]\n|Expected an? (?P<type>.*?)\. Got value: (?P<value>.*)")
_NOT_FINITE = "nan", "inf", "infinity"
_PERCENT = re.compile(r"(?P<number>\d+(\.\d+)?) ?%")
_VALUE = re.compile(r"Given value: (?P<value>.*)", re.DOTALL)


@contextmanager
def in_one_sentence() -> Iterator[None]:
    """Print what this package or Lightning refuses as one sentence; any other error keeps its traceback.

    Raises:
        SystemExit: With status 1 where the run failed (RuntimeError), else 2.
    """
    try:
        yield
    except Exception as error:
        refused = refusal(error)
        if refused is None or os.environ.get(TRACEBACK):
            raise
        refuse(refused)


def refusal(error: Exception) -> BaseException | None:
    """Return the error whose text is a sentence for the user; ``None`` for a bug, or an error in the user's code."""
    found: BaseException | None = error
    while found is not None:
        package, by_raise = _origin(found)
        if by_raise and package == __name__.partition(".")[0]:
            return found
        if package == "lightning" and type(found).__name__ == "MisconfigurationException":
            return found
        if package != "jsonargparse":
            return None
        found = found.__cause__ or found.__context__  # it packs what a constructor raised into a report of its own
    return None


def _origin(error: BaseException) -> tuple[str, bool]:
    """Return the package that an error comes from, and whether a `raise` statement made it."""
    place: TracebackType | None = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    if place is None:
        return "", False
    package = str(place.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
    return package, place.tb_frame.f_code.co_code[place.tb_lasti] == dis.opmap["RAISE_VARARGS"]


def explain(message: str, command: str, options: Iterable[str], has_recipe: bool = True) -> str:
    """Return jsonargparse's report on an option or a configuration as one sentence.

    Args:
        message: The report.
        command: The command, such as ``monocon fit``.
        options: The names of all options, without their dashes.
        has_recipe: Whether the command's configuration is a recipe; otherwise it holds options of the command.

    Example:
        >>> explain("unrecognized arguments: --model.hed mlp", "monocon fit", ["model.head", "run_dir"])
        '`--model.hed` is not an option of `monocon fit`; did you mean `--model.head`?'
    """
    names = list(options)
    if found := _UNKNOWN_WORDS.search(message):
        word = found["words"].split()[0].partition("=")[0]
        return _unknown_word(word, command, names, has_recipe)
    if found := _UNKNOWN_ARGUMENT.search(message):
        return _unknown_argument(found["path"], found["name"])
    if (found := _UNKNOWN_KEY.match(message)) is not None:
        key = f"{found['group']}.{found['key']}" if found["group"] else found["key"]
        kind = "a key of a recipe" if has_recipe else f"an option of `{command}`"
        keys = [name.replace("-", "_") for name in names]
        return f"`{key}` is not {kind}{_did_you_mean(nearest(key, keys), command)}"
    if (found := _MISSING_ARGUMENT.search(message)) and (key := _KEY.search(message)):
        return _missing_argument(key["key"], found["path"], found["names"])
    if found := _MISSING.search(message):
        return _missing(found["names"].replace(f"{command.split()[-1]}.", ""), command, None if has_recipe else names)
    if message.startswith("argument "):
        return f"{message}; `{command} --help` lists the options"
    return _misfit(message, () if has_recipe else names)


def nearest(word: str, names: Iterable[str]) -> str | None:
    """Return the name that resembles a word most, compared as a whole and by its last part; ``None`` if none does.

    Example:
        >>> nearest("max_epoch", ["trainer.max_epochs", "model.lr_head"])
        'trainer.max_epochs'
    """

    def likeness(name: str) -> float:
        parts = ((word, name), (word.rpartition(".")[2], name.rpartition(".")[2]))
        whole, last = (SequenceMatcher(None, *pair).ratio() for pair in parts)
        return max(whole, last) + 0.1 * whole

    best = max(names, key=likeness, default=None)
    return best if best is not None and likeness(best) >= _ALIKE + 0.1 else None


def _did_you_mean(name: str | None, command: str) -> str:
    return f"; did you mean `{name}`?" if name else f"; `{command} --help` lists the options"


def _unknown_word(word: str, command: str, names: list[str], has_recipe: bool) -> str:
    if not word.startswith("-"):
        return f"`{command}` takes options only, such as --{'config NAME' if has_recipe else names[0]}; got {word!r}"
    name = nearest(word.lstrip("-"), names)
    return f"`{word}` is not an option of `{command}`{_did_you_mean(name and '--' + name, command)}"


def _unknown_argument(path: str, name: str) -> str:
    import inspect
    from importlib import import_module

    module, _, kind = path.rpartition(".")
    try:
        known = list(inspect.signature(getattr(import_module(module), kind)).parameters)
    except (ImportError, AttributeError, ValueError, TypeError):
        known = []
    wanted = nearest(name, known)
    return f"`{name}` is not an argument of {path}" + (
        f"; did you mean `{wanted}`?" if wanted else f"; it takes {', '.join(known) or 'none'}"
    )


def _missing_argument(key: str, path: str, names: str) -> str:
    """Return which arguments of a class that a recipe names are missing, and an option that gives the first."""
    words = names.split(", ")
    return (
        f"`{key}` names the class {path}, which needs {', '.join(words)}: give `--{key}.{words[0]} VALUE`, or its "
        "`init_args` in the recipe"
    )


def _missing(names: str, command: str, options: list[str] | None) -> str:
    """Return what is missing; a command without a recipe gives its ``options``, and other names are not flags."""
    if options is not None:
        dashed = (name.replace("_", "-") for name in names.split(", "))
        given = ", ".join("--" + name if name in options else name.upper() for name in dashed)
        return f"`{command}` needs more options: give {given}; `{command} --help` says what they are"
    return (
        f"`{command}` needs a recipe: give a packaged one, such as `{command} --config digits` (`monocon recipes` "
        f"lists them), or a YAML file of your own; what is missing: {names}"
    )


def _misfit(message: str, options: Sequence[str] = ()) -> str:
    """Return what jsonargparse says of a value that does not fit its option, or of anything else, on one line."""
    key = _KEY.search(message)
    if key and (inner := _MISFIT_ARGUMENT.search(message)):
        return _misfit(f'Parser key "{key["key"]}.{inner["name"]}": {inner["reason"]}')
    name, meant = f"`{_as_typed(key['key'], options)}`" if key else "the configuration", ""
    if (found := _UNKNOWN_CLASS.search(message)) and (kind := found["missing"] or found["name"]):
        names = re.findall(r"'(\w+)'", " ".join(re.findall(r"typing\.Literal\[([^]]*)\]", message)))
        known = _classes_of(found["module"]) if found["module"] else [*names, *_known_classes()]
        wanted = nearest(kind, known)
        if wanted in names:
            meant = f"; did you mean {wanted!r}?"
        elif wanted:
            return f"{name}: there is no class {kind!r}; did you mean {wanted!r}?"
    types, value = _TYPES.search(message), _VALUE.search(message)
    if key and types:
        wanted, given = types["types"] or types["type"], types["value"] or (value["value"] if value else "")
        given = " ".join(given.split())
        is_number = "float" in wanted and given.lower().lstrip("+-") in _NOT_FINITE
        if "float" in wanted and (percent := _PERCENT.fullmatch(given)):
            meant = f"; write {float(percent['number']) / 100:.12g}"
        return f"{name} must be {'a finite number' if is_number else _readable(wanted)}; got {given!r}{meant}"
    text = " ".join(message[key.end() if key else 0 :].removeprefix("Problems parsing config: ").split())
    return f"{name}: {text}" if key else text


def _as_typed(key: str, options: Sequence[str]) -> str:
    """Return the flag of an option of the command; names of classes' arguments stay as a recipe has them."""
    own = "." not in key and {key, key.replace("_", "-")} & {*options}
    return "--" + key.replace("_", "-") if own else key


def _readable(types: str) -> str:
    """Return types in words, from the names that jsonargparse gives them.

    Example:
        >>> _readable("<class 'int'>, <class 'NoneType'>")
        'int or null'
        >>> _readable("typing.Literal['monotonic', 'mlp'], <class 'torch.nn.modules.module.Module'>")
        "one of 'monotonic', 'mlp' or Module"
    """
    parts = re.findall(r"typing\.Literal\[[^]]*\]|<class '[^']*'>|[^\s,\[]+\[[^]]*\]|[^\s,]+", types)
    words = []
    for part in parts:
        if part.startswith("typing.Literal"):
            words.append(f"one of {part[len('typing.Literal[') : -1]}")
        else:
            name = part.removeprefix("<class '").removesuffix("'>").rpartition(".")[2] if "[" not in part else part
            words.append("null" if name == "NoneType" else name)
    return " or ".join(words)


def _classes_of(module: str) -> list[str]:
    return [name for name, value in vars(sys.modules.get(module, object)).items() if isinstance(value, type)]


def _known_classes() -> list[str]:
    """Return the names of all classes that a recipe may give without their modules."""
    from lightning.pytorch import Callback, LightningDataModule
    from lightning.pytorch.loggers import Logger
    from torch import nn

    todo: list[type] = [Callback, LightningDataModule, Logger, nn.Module]
    found: dict[str, None] = dict.fromkeys(data_classes())
    while todo:
        kind = todo.pop()
        found[kind.__name__] = None
        children: list[type] = kind.__subclasses__()
        todo += [child for child in children if child.__name__ not in found]
    return list(found)
