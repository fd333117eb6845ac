# SPDX-License-Identifier: Apache-2.0
"""Let a recipe name this package's data by the name of the class alone; jsonargparse knows only what is imported."""

from __future__ import annotations

import re


def data_classes() -> dict[str, str]:
    """Return the package of each data class by its name, without importing the classes."""
    from lightning_monocon import data, learnt

    named = ((name, package.__name__) for package in (data, learnt) for name in package.__all__)
    return {name: package for name, package in named if name.endswith(("Data", "Pairs"))}


def import_named(text: str) -> None:
    """Import the data classes that a text names."""
    from importlib import import_module

    alone = {*re.findall(r"(?<![\w.])\w+(?:Data|Pairs)\b", text)}  # behind a dot jsonargparse imports them itself
    if not alone:
        return
    for name, package in data_classes().items():
        if name in alone:
            getattr(import_module(package), name)
