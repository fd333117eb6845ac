# SPDX-License-Identifier: Apache-2.0
"""Find modules inside wrappers, and the names of their parameters with and without them.

`torch.compile` and the data-parallel classes of torch keep the module under a name of their own, which changes the
name of every parameter in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar, cast

from torch import nn

Value = TypeVar("Value")

_INSIDE = ("_orig_mod", "module")
"""Attributes in which `torch.compile` and the data-parallel classes keep the module."""


def unwrapped(module: nn.Module) -> nn.Module:
    """Return the module inside the wrappers around it, or the module itself."""
    while (name := _inside(module)) is not None:
        module = cast(nn.Module, getattr(module, name))
    return module


def unwrap_all(module: nn.Module) -> nn.Module:
    """Return the module without wrappers around it or any of its parts, which are replaced in place."""
    module = unwrapped(module)
    for name, child in module.named_children():
        setattr(module, name, unwrap_all(child))
    return module


def plain_names(module: nn.Module) -> dict[str, str]:
    """Return the name without wrappers for each name of the module's state dict."""
    inside = {
        f"{name}.{part}" if name else part
        for name, each in module.named_modules()
        if (part := _inside(each)) is not None
    }
    return {name: _without(name, inside) for name in module.state_dict()}


def named_as(state: Mapping[str, Value], names: Iterable[str]) -> dict[str, Value]:
    """Return a state dict under the names of a model, if both differ only by wrappers.

    Args:
        state: State dict as it was stored, with or without wrappers.
        names: Names of the model to load it into, with or without wrappers. A name without a counterpart stays as it
            is, and so do all if removing the wrappers would make two names equal.

    Example:
        >>> named_as({"encoder._orig_mod.weight": 1, "head.bias": 2}, ["encoder.weight", "head.bias"])
        {'encoder.weight': 1, 'head.bias': 2}
    """
    wanted = list(names)
    options = [dict(state)]
    for parts in (_INSIDE[:1], _INSIDE):
        targets = {_reduced(name, parts): name for name in wanted}
        reduced = [_reduced(name, parts) for name in state]
        if len(targets) == len(wanted) and len(set(reduced)) == len(reduced):
            options.append({targets.get(short, name): state[name] for short, name in zip(reduced, state, strict=True)})
    return max(options, key=lambda found: len(found.keys() & set(wanted)))  # the first of equally good ones


def _inside(module: nn.Module) -> str | None:
    """Return the name under which a wrapper keeps its module; ``None`` for a module that is not a wrapper."""
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return "module"
    # the class of `torch.compile`, without importing the compiler
    kind = type(module)
    return "_orig_mod" if (kind.__module__, kind.__name__) == ("torch._dynamo.eval_frame", "OptimizedModule") else None


def _without(name: str, inside: set[str]) -> str:
    parts = name.split(".")
    return ".".join(part for i, part in enumerate(parts) if ".".join(parts[: i + 1]) not in inside)


def _reduced(name: str, parts: tuple[str, ...]) -> str:
    return ".".join(part for part in name.split(".") if part not in parts)
