# SPDX-License-Identifier: Apache-2.0
"""No public parameter takes just anything: what has no type is not checked, and a file could put code there."""

from __future__ import annotations

import builtins
import collections.abc
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy.typing
import pytest
import torchmetrics
from typing_extensions import is_protocol

import lightning_monocon

NOT_DESCENDED = ("numpy", "torch", "networkx")
"""`NDArray[...]` and `DataLoader[Any]` hold an Any that says nothing of what may be passed."""
ALLOWED = {
    ("state", "landscape"): "plain values of a checkpoint, whose shape `load_state_dict` checks itself",
    ("plain", "Event.from_dict"): "a line of JSON",
    ("spec", "encoders.build_encoder"): "plain values of a checkpoint, for an encoder of the closed registry",
    ("steps", "SentenceTransformersEncoder"): "plain values of a checkpoint; each names one of a few known modules",
    **{(name, "export_model"): "batches, as a loader gives them" for name in ("gallery", "query", "searched")},
    ("config", "export.Stamp"): "plain values for people to read; hashes decide",
    ("kwargs", "ImageFolderData"): "the arguments of the class below it, which have types",
}


class Parameter(NamedTuple):
    where: str
    name: str
    hint: object
    kind: Any


class _Names(dict[str, Any]):
    """Globals of a module in which a name that only a type checker imports is some class."""

    def __missing__(self, name: str) -> type:
        if name.startswith("__") or hasattr(builtins, name):
            raise KeyError(name)
        if name in ("np", "npt"):
            return {"np": numpy, "npt": numpy.typing}[name]  # type: ignore[return-value]
        return type(name, (), {"__class_getitem__": classmethod(lambda cls, _: cls)})


def public(module: types.ModuleType) -> Iterator[tuple[str, object]]:
    """Yield every name of `__all__`, and those of the packages among them."""
    for name in module.__all__:
        found = getattr(module, name)
        if inspect.ismodule(found) and found.__name__.startswith("lightning_monocon."):
            if hasattr(found, "__all__"):
                yield from public(found)
        else:
            yield f"{module.__name__}.{name}", found


def functions(where: str, found: object) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield a function, or a class's constructor and public methods that no other package's class prescribes."""
    if inspect.isfunction(found):
        yield where, found
    elif inspect.isclass(found) and not is_protocol(found):
        for name, member in vars(found).items():
            method = member.__func__ if isinstance(member, staticmethod | classmethod) else member
            theirs = any(
                name in vars(base) for base in found.__mro__[1:] if not base.__module__.startswith("lightning_m")
            )
            if inspect.isfunction(method) and (name == "__init__" or not (name.startswith("_") or theirs)):
                yield f"{where}.{name}", method


def parameters() -> list[Parameter]:
    listed = []
    for where, found in public(lightning_monocon):
        for place, function in functions(where, found):
            plain = inspect.unwrap(function)
            hints = {name: _hint(plain, name) for name in plain.__annotations__}
            for parameter in list(inspect.signature(plain).parameters.values()):
                if parameter.name not in ("self", "cls"):
                    metric = inspect.isclass(found) and issubclass(
                        found, torchmetrics.Metric | torchmetrics.MetricCollection
                    )
                    if not (metric and parameter.kind is parameter.VAR_KEYWORD):  # torchmetrics' own options
                        listed.append(Parameter(place, parameter.name, hints.get(parameter.name), parameter.kind))
    return listed


def _hint(function: Callable[..., Any], name: str) -> object:
    """Return a parameter's type; the words themselves where they only make sense to a type checker."""
    words = function.__annotations__[name]

    def alone() -> None:
        pass

    alone.__annotations__ = {name: words}
    try:
        return typing.get_type_hints(alone, _Names(function.__globals__))[name]
    except TypeError:  # a union with the name of a type
        return str(words)


def fault(hint: object) -> str:
    """Return what is wrong with a type, or nothing."""
    if hint is None:
        return "untyped"
    if isinstance(hint, str):
        return "takes anything" if re.search(r"\b(Any|object|Callable(?!\[))\b", hint) else ""
    if hint is Any or hint is object:
        return "takes anything"
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is typing.Callable or hint is collections.abc.Callable:
        return "a bare Callable"
    if origin is collections.abc.Callable:
        return "a Callable without arguments or result" if arguments[0] is ... and arguments[1] is Any else ""
    if getattr(origin or hint, "__module__", "").split(".")[0] in NOT_DESCENDED:
        return ""
    return next(filter(None, (fault(each) for each in arguments if each is not None.__class__ and each is not ...)), "")


def test_every_public_parameter_has_a_type_that_can_be_checked() -> None:
    found = parameters()
    assert len(found) > 300
    wrong = {f"{p.where}({p.name}): {fault(p.hint)}" for p in found if fault(p.hint) and not _allowed(p)}
    assert not wrong, "\n".join(sorted(wrong))


def _allowed(parameter: Parameter) -> bool:
    return any(parameter.name == name and place in parameter.where for name, place in ALLOWED)


@pytest.mark.parametrize(
    ("hint", "what"),
    [
        (None, "untyped"),
        (Any, "takes anything"),
        (dict[str, Any], "takes anything"),
        (list[tuple[int, Any]] | None, "takes anything"),
        (Callable, "a bare Callable"),
        (Callable[..., Any], "a Callable without arguments or result"),
        (Callable[[int], str], ""),
        (int | None, ""),
        ("ArrayLike | None", ""),
        ("Any | Later", "takes anything"),
        (typing.Literal["a", "b"], ""),
    ],
    ids=str,
)
def test_the_judge(hint: object, what: str) -> None:
    assert fault(hint) == what
