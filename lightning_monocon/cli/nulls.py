# SPDX-License-Identifier: Apache-2.0
"""Refuse a null where an argument does not take one; jsonargparse accepts it, and some later code fails."""

from __future__ import annotations

import argparse
import inspect
import sys
import types
from collections.abc import Callable
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from jsonargparse import Namespace

_TAKEN = {"seed_everything"}  # Lightning chooses the seed itself


def check_nulls(parser: argparse.ArgumentParser, options: Namespace) -> None:
    """Raise ValueError, naming the key, if an option is null and neither its type nor its default allows it."""
    actions = [action for action in parser._actions if action.dest in options or "." in action.dest]
    for group in dict.fromkeys(action.dest.partition(".")[0] for action in actions if "." in action.dest):
        if group in options and options[group] is None:
            raise ValueError(f"`{group}` must be a mapping of arguments; got null. Leave the key out for the defaults.")
    for action in actions:
        if action.dest in options and action.dest not in _TAKEN:
            _check(action.dest, options[action.dest], getattr(action, "_typehint", None) or action.type, action.default)


def _check(key: str, value: object, hint: object, default: object) -> None:
    """Check one value, and the values inside it."""
    if value is None and default is not None and not _takes_null(hint):
        usual = "" if default in (inspect.Parameter.empty, argparse.SUPPRESS) else f" for the default, {default!r}"
        raise ValueError(f"`{key}` must be {_words(hint)}; got null. Leave the key out{usual}, or give a value.")
    if isinstance(value, list):
        for i, part in enumerate(value):
            _check(f"{key}[{i}]", part, None, None)
    arguments = value.get("init_args") if isinstance(value, Namespace) else None
    if isinstance(value, Namespace) and isinstance(arguments, Namespace):
        known = _parameters(str(value.get("class_path")))
        for name, part in vars(arguments).items():
            _check(f"{key}.init_args.{name}", part, *known.get(name, (None, None)))


def _parameters(path: str) -> dict[str, tuple[object, object]]:
    """Return type and default of each argument of a class, those that it hands on to its bases included."""
    module, _, name = path.rpartition(".")
    kind = getattr(sys.modules.get(module), name, None)
    found: dict[str, tuple[object, object]] = {}
    makers: list[Callable[..., Any]] = (
        [vars(base)["__init__"] for base in kind.__mro__[:-1] if "__init__" in vars(base)]
        if isinstance(kind, type)
        else [kind]
        if callable(kind)
        else []
    )
    for make in makers:
        try:
            hints, parameters = get_type_hints(make), inspect.signature(make).parameters
        except (NameError, TypeError, ValueError):  # a name that only a type checker imports, or code in C
            continue
        for word, parameter in parameters.items():
            found.setdefault(word, (hints.get(word), parameter.default))
    return found


def _takes_null(hint: object) -> bool:
    if hint in (None, Any, object, type(None)) or not (isinstance(hint, type) or get_origin(hint)):
        return True
    if get_origin(hint) in (Union, types.UnionType):
        return any(map(_takes_null, get_args(hint)))
    if get_origin(hint) is Annotated:
        return _takes_null(get_args(hint)[0])
    return get_origin(hint) is Literal and None in get_args(hint)


def _words(hint: object) -> str:
    """Return a type in words.

    Example:
        >>> _words(int | Literal["a", "b"])
        "int or one of 'a', 'b'"
    """
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(map(_words, get_args(hint)))
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(repr, get_args(hint)))}"
    if isinstance(hint, type) and not get_args(hint):
        return hint.__name__
    return str(hint).replace("collections.abc.", "").replace("typing.", "")
