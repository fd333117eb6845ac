# SPDX-License-Identifier: Apache-2.0
"""One module a theme, each with ``CAMPAIGNS: dict[str, Campaign]``; every one is found by its being here."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from reliability.outcome import Campaign


def load() -> dict[str, Campaign]:
    """Return every campaign by name.

    Raises:
        ValueError: If two have the same name.
    """
    found: dict[str, Campaign] = {}
    for module in sorted(info.name for info in iter_modules(__path__)):
        campaigns: dict[str, Campaign] = import_module(f"{__name__}.{module}").CAMPAIGNS
        for name, campaign in campaigns.items():
            if name in found:
                raise ValueError(f"two campaigns are called {name!r}; the second is in {module}.py")
            found[name] = campaign
    return found
