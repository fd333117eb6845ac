# SPDX-License-Identifier: Apache-2.0
"""Import moved modules by their former paths, for one release, with a `DeprecationWarning`."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType

_PACKAGE = "lightning_monocon"


def _moved(before: str, now: str, names: str) -> dict[str, str]:
    """Return the paths of modules that kept their names but not their package."""
    return {f"{before}.{name}".lstrip("."): f"{now}.{name}" for name in names.split()}


MOVED = {
    **_moved("", "inference", "batch_stamp random_states rank_rows shards space"),
    **_moved("", "runs", "arguments checkpoints contents plain_values progress scratch settings"),
    **_moved("", "training", "batches between_steps schedule step_state"),
    **_moved("data", "data.images", "augmentation cifar fashion_mnist"),
    **_moved("data", "data.text", "pair_files pair_formats repeats sentences snli"),
    **_moved("data.augmentation", "data.images.augmentation", "draws image pillow tensors"),
    **_moved("encoders", "encoders.image", "resnet resnet_weights torchvision_model"),
    **_moved(
        "landscape",
        "landscape.theory",
        "arrhenius cusum estimate forecast laws percolation purity spanning trap walks",
    ),
    **_moved("scorecard", "scorecard.render", "figures page schema sentences tables"),
    **_moved(
        "scorecard.figures",
        "scorecard.render.figures",
        "correlation dynamics frontier recall spectrum storage style training",
    ),
    "arms": "heads.arms",
    "cached_gradients": "training.chunks",
    "cli.parts": "cli.config",
    "cli.words": "cli.config",
    "data.image_archives": "data.images.archives",
    "data.image_cache": "data.images.cache",
    "data.image_files": "data.images.files",
    "data.image_folder": "data.images.folder",
    "data.image_layout": "data.images.layout",
    "data.image_pixels": "data.images.pixels",
    "data.image_set": "data.images.set",
    "data.image_table": "data.images.table",
    "data.sentence_batches": "data.text.batches",
    "data.sentence_identity": "data.text.identity",
    "durable": "runs.checkpoints",
    "durable_files": "runs.files",
    "embedding": "inference.embed",
    "encoders.text_config": "encoders.text.config",
    "encoders.text_pooling": "encoders.text.pooling",
    "encoders.text_sentence_transformers": "encoders.text.sentence_transformers_model",
    "encoders.text_source": "encoders.text.source",
    "encoders.text_tokenizer": "encoders.text.tokenizer",
    "encoders.transformers_image": "encoders.image.transformers_model",
    "figure_logging": "loggers.figures",
    "functional.gather": "distributed",
    "functional.head_arguments": "heads.arguments",
    "functional.init_report": "heads.report",
    "functional.monotone_init": "heads.init",
    "functional.monotonicity": "heads.falsify",
    "kernels.supcon.cross": "kernels.cross_supcon",
    "kernels.supcon.cross_fused": "kernels.cross_supcon.fused",
    "kernels.supcon.cross_ops": "kernels.cross_supcon.ops",
    "kernels.supcon.cross_reference": "kernels.cross_supcon.reference",
    "kernels.supcon.cross_streamed": "kernels.cross_supcon.streamed",
    "kernels.supcon.cross_terms": "kernels.cross_supcon.terms",
    "large_batches": "training.strategies",
    "nested_loss": "losses",
    "scorecard.dimension": "scorecard.scores",
    "scorecard.history": "runs.record",
    "scorecard.neighbours": "scorecard.frontier",
    "scorecard.noise": "scorecard.ranking",
    "scorecard.storage": "functional.quantisation",
    "scorecard.words": "scorecard.render.text",
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
    """Return a name that a package held while it was one file; ``homes`` has the module of each such name now."""
    if name not in homes:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    home = f"{_PACKAGE}.{homes[name]}"
    _warn(f"{package}.{name}", f"{home}.{name}", stacklevel=4)
    value = getattr(import_module(home), name)
    setattr(sys.modules[package], name, value)  # the next access does not come here
    return value


def renamed_function(old: str, package: str, name: str) -> Callable[..., object]:
    """Return the function of a package that a former one only calls, with a warning; ``old`` is the former one."""
    _warn(old, f"{package}.{name}()", stacklevel=4)
    found: Callable[..., object] = getattr(import_module(package), name)
    return found


def moved_module(fullname: str) -> ModuleSpec | None:
    """Return a spec that gives the module itself for its old path, ``None`` for any other path."""
    package, _, name = fullname.partition(".")
    if package != _PACKAGE or name not in MOVED:
        return None
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
