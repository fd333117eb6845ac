# SPDX-License-Identifier: Apache-2.0
"""Import modules by the paths that they had in release 0.1.0, for one release, with a `DeprecationWarning`."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # `import lightning_monocon` would wait for them
    from collections.abc import Mapping, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_PACKAGE = "lightning_monocon"

MOVED = {
    "arguments": "runs.arguments",
    "arms": "heads.arms",
    "batch_stamp": "inference.batch_stamp",
    "batches": "training.batches",
    "between_steps": "training.between_steps",
    "cached_gradients": "training.chunks",
    "checkpoints": "runs.checkpoints",
    "cli.parts": "cli.config",
    "cli.words": "cli.config",
    "contents": "runs.contents",
    "data.augmentation": "data.images.augmentation",
    "data.augmentation.draws": "data.images.augmentation.draws",
    "data.augmentation.image": "data.images.augmentation.image",
    "data.augmentation.pillow": "data.images.augmentation.pillow",
    "data.augmentation.tensors": "data.images.augmentation.tensors",
    "data.cifar": "data.images.cifar",
    "data.fashion_mnist": "data.images.fashion_mnist",
    "data.image_archives": "data.images.archives",
    "data.image_cache": "data.images.cache",
    "data.image_files": "data.images.files",
    "data.image_folder": "data.images.folder",
    "data.image_layout": "data.images.layout",
    "data.image_pixels": "data.images.pixels",
    "data.image_set": "data.images.set",
    "data.image_table": "data.images.table",
    "data.pair_files": "data.text.pair_files",
    "data.pair_formats": "data.text.pair_formats",
    "data.repeats": "data.text.repeats",
    "data.sentence_batches": "data.text.batches",
    "data.sentence_identity": "data.text.identity",
    "data.sentences": "data.text.sentences",
    "data.snli": "data.text.snli",
    "durable": "runs.checkpoints",
    "durable_files": "runs.files",
    "embedding": "inference.embed",
    "encoders.resnet": "encoders.image.resnet",
    "encoders.resnet_weights": "encoders.image.resnet_weights",
    "encoders.text_config": "encoders.text.config",
    "encoders.text_pooling": "encoders.text.pooling",
    "encoders.text_sentence_transformers": "encoders.text.sentence_transformers_model",
    "encoders.text_source": "encoders.text.source",
    "encoders.text_tokenizer": "encoders.text.tokenizer",
    "encoders.torchvision_model": "encoders.image.torchvision_model",
    "encoders.transformers_image": "encoders.image.transformers_model",
    "figure_logging": "loggers.figures",
    "functional.gather": "distributed",
    "functional.head_arguments": "heads.arguments",
    "functional.init_report": "heads.report",
    "functional.monotone_init": "heads.init",
    "functional.monotonicity": "heads.falsify",
    "landscape.arrhenius": "landscape.theory.arrhenius",
    "landscape.cusum": "landscape.theory.cusum",
    "landscape.estimate": "landscape.theory.estimate",
    "landscape.forecast": "landscape.theory.forecast",
    "landscape.laws": "landscape.theory.laws",
    "landscape.percolation": "landscape.theory.percolation",
    "landscape.purity": "landscape.theory.purity",
    "landscape.spanning": "landscape.theory.spanning",
    "landscape.trap": "landscape.theory.trap",
    "landscape.walks": "landscape.theory.walks",
    "large_batches": "training.strategies",
    "plain_values": "runs.plain_values",
    "progress": "runs.progress",
    "random_states": "inference.random_states",
    "rank_rows": "inference.rank_rows",
    "schedule": "training.schedule",
    "scorecard.figures": "scorecard.render.figures",
    "scorecard.figures.correlation": "scorecard.render.figures.correlation",
    "scorecard.figures.dynamics": "scorecard.render.figures.dynamics",
    "scorecard.figures.frontier": "scorecard.render.figures.frontier",
    "scorecard.figures.recall": "scorecard.render.figures.recall",
    "scorecard.figures.spectrum": "scorecard.render.figures.spectrum",
    "scorecard.figures.storage": "scorecard.render.figures.storage",
    "scorecard.figures.style": "scorecard.render.figures.style",
    "scorecard.figures.training": "scorecard.render.figures.training",
    "scorecard.history": "runs.record",
    "scorecard.page": "scorecard.render.page",
    "scorecard.schema": "scorecard.render.schema",
    "scorecard.sentences": "scorecard.render.sentences",
    "scorecard.storage": "functional.quantisation",
    "scorecard.tables": "scorecard.render.tables",
    "scorecard.words": "scorecard.render.text",
    "scratch": "runs.scratch",
    "settings": "runs.settings",
    "shards": "inference.shards",
    "space": "inference.space",
    "step_state": "training.step_state",
    "tensor_hash": "runs.digest",
    "wandb_logger": "loggers.wandb",
    "watching.arrivals": "callbacks._finite",
    "watching.finite": "callbacks._finite",
    "watching.harmless": "callbacks._watcher",
    "watching.outputs": "inference.outputs",
    "watching.printing": "callbacks._watcher",
    "watching.rows": "callbacks._rows",
}
"""The path of each module that has moved, and its path now; both within the package."""


def moved_name(package: str, name: str, homes: Mapping[str, str]) -> object:
    """Return a name that a package held while it was one file.

    Args:
        package: The package, as its ``__name__``.
        name: The name that was asked for.
        homes: The module in which each such name is now, within `lightning_monocon`.

    Raises:
        AttributeError: If ``homes`` does not have the name.
    """
    if name not in homes:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    home = f"{_PACKAGE}.{homes[name]}"
    _warn(f"{package}.{name}", f"{home}.{name}", stacklevel=4)
    value = getattr(import_module(home), name)
    setattr(sys.modules[package], name, value)  # the next access does not come here
    return value


class MovedModules:
    """Find a module under its old path, and give the module itself: names are not defined twice."""

    @staticmethod
    def find_spec(fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return a spec for the old path of a module that has moved, ``None`` for any other path."""
        package, _, name = fullname.partition(".")
        if package != _PACKAGE or name not in MOVED:
            return None
        from importlib.machinery import ModuleSpec

        loader = _Alias(f"{_PACKAGE}.{MOVED[name]}")
        return ModuleSpec(fullname, loader)  # type: ignore[arg-type]  # `importlib.abc` has the class, and costs 7 ms


class _Alias:
    """Put the module at ``home`` in the place of one that is being imported."""

    def __init__(self, home: str) -> None:
        self.home = home

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to the import system to make an empty module, which `exec_module` replaces."""

    def exec_module(self, module: ModuleType) -> None:
        _warn(module.__name__, self.home, stacklevel=3)
        sys.modules[module.__name__] = import_module(self.home)


def _warn(old: str, new: str, stacklevel: int) -> None:
    warnings.warn(
        f"{old} has moved to {new}; the old path goes with the next release. Import the new one.",
        DeprecationWarning,
        stacklevel=stacklevel,
    )
