# SPDX-License-Identifier: Apache-2.0
"""Recipes by name; installed as `lightning_monocon.recipes`.

A recipe is one complete YAML file for `monocon fit --config NAME`. It begins with four comments:
`# What` it trains, how to `# Run` it, a `# Smoke` run of a few steps, and what to `# Expect` of it.
"""

from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path

__all__ = ["names", "path", "summary"]


def names() -> list[str]:
    """Return the names of the packaged recipes, sorted."""
    return sorted(entry.name.removesuffix(".yaml") for entry in _folder().iterdir() if entry.name.endswith(".yaml"))


def path(name: str, argument: str = "recipe") -> Path:
    """Return the file of a packaged recipe.

    Args:
        name: The name of the recipe.
        argument: What the caller's user calls the name, for the sentence of the error.

    Raises:
        ValueError: If there is no such recipe; the message lists those that exist.
    """
    known = names()
    if name not in known:
        alike = get_close_matches(name, known, 1)
        meant = f"; did you mean {alike[0]!r}?" if alike else ""
        raise ValueError(
            f"`{argument}` must be one of {', '.join(known)}, or a path to a YAML file; got {name!r}{meant}"
        )
    return _folder() / f"{name}.yaml"


def summary(name: str) -> str:
    """Return what the recipe `name` trains: the text of its `# What` line.

    Raises:
        ValueError: If there is no such recipe, or its header has no `# What` line.
    """
    recipe = path(name)
    for line in recipe.read_text(encoding="utf-8").splitlines():
        if line.startswith("# What "):
            return line.removeprefix("# What ").strip()
    raise ValueError(f"`{recipe.name}` must hold a header line '# What    ...' that says what it trains; it has none")


def _folder() -> Path:
    # `files` finds the folder in a wheel and in an editable install alike; Lightning needs a real path
    return Path(str(files("lightning_monocon.recipes")))
