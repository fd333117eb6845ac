# SPDX-License-Identifier: Apache-2.0
"""Compact, robust embeddings with monotonic contrastive heads.

Every public name is resolved on first use, so that `import lightning_monocon` costs nothing and the
parts that need no Lightning work without it.
"""

import sys
from importlib import import_module

TYPE_CHECKING = False  # type checkers take it for true; `typing` alone costs more than all of this module
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec

    from lightning_monocon import callbacks, data, encoders, export, functional, landscape, metrics, scorecard
    from lightning_monocon.heads import LinearHead, MLPHead, MonotonicMLP
    from lightning_monocon.losses import (
        ClipLoss,
        CompatibilityLoss,
        CrossSupConLoss,
        NestedSupConLoss,
        PairsByLabel,
        SigLipLoss,
        SupConLoss,
    )
    from lightning_monocon.module import MonoCon

    __version__: str

__all__ = [
    "ClipLoss",
    "CompatibilityLoss",
    "CrossSupConLoss",
    "LinearHead",
    "MLPHead",
    "MonoCon",
    "MonotonicMLP",
    "NestedSupConLoss",
    "PairsByLabel",
    "SigLipLoss",
    "SupConLoss",
    "__version__",
    "callbacks",
    "data",
    "encoders",
    "export",
    "functional",
    "landscape",
    "metrics",
    "scorecard",
]

_HOMES = {
    "ClipLoss": "lightning_monocon.losses",
    "CompatibilityLoss": "lightning_monocon.losses",
    "CrossSupConLoss": "lightning_monocon.losses",
    "LinearHead": "lightning_monocon.heads",
    "MLPHead": "lightning_monocon.heads",
    "MonoCon": "lightning_monocon.module",
    "MonotonicMLP": "lightning_monocon.heads",
    "NestedSupConLoss": "lightning_monocon.losses",
    "PairsByLabel": "lightning_monocon.losses",
    "SigLipLoss": "lightning_monocon.losses",
    "SupConLoss": "lightning_monocon.losses",
}


def _resolve(name: str) -> object:
    """Import the home of a public name when it is first asked for."""
    if name not in __all__:
        known = ", ".join(__all__)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; its public names are {known}")
    if name == "__version__":
        value: object = import_module("importlib.metadata").version("lightning-monocon")
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    else:
        value = import_module(f"{__name__}.{name}")
    globals()[name] = value  # the next access does not come here
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})


if not TYPE_CHECKING:  # a type checker that saw it would accept every misspelt name
    __getattr__ = _resolve


class _OldPaths:
    """Ask `lightning_monocon.compat` for a module of this package, once the first one is imported."""

    @staticmethod
    def find_spec(fullname: str, path: "Sequence[str] | None", target: object = None) -> "ModuleSpec | None":
        if not fullname.startswith("lightning_monocon.") or fullname == "lightning_monocon.compat":
            return None
        from lightning_monocon.compat import moved_module

        return moved_module(fullname)


sys.meta_path.insert(0, _OldPaths)  # first, or a package's own path would find its moved files a second time
