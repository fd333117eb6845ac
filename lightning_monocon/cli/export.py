# SPDX-License-Identifier: Apache-2.0
"""`monocon export`: from a checkpoint to a folder that makes small vectors and needs nothing of this package."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from lightning_monocon.cli.imports import import_policy
from lightning_monocon.cli.words import expanded, resolve_recipes

if TYPE_CHECKING:
    from lightning.pytorch import LightningDataModule

    from lightning_monocon.export.writing import Export
    from lightning_monocon.module import MonoCon

_FORMS = ("onnx", "pt2", "sentence-transformers")
_PAIR = 2


def run(args: Sequence[str]) -> None:
    """Run the command.

    Args:
        args: ``["export", ...]``; words that begin with ``--data.`` override the recipe's data.

    Raises:
        SystemExit: With status 2 if an option, a file or the model does not fit; with 1 if a form came out wrong.
    """
    policy, words = import_policy(args)
    options, overrides = _parser().parse_known_args(resolve_recipes(words)[1:])
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    try:
        with policy.enforced():
            written = export(options, overrides)
    except (ValueError, TypeError, OSError, ModuleNotFoundError) as error:
        print(f"monocon export: error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    except RuntimeError as error:
        print(f"monocon export: error: {error}", file=sys.stderr)
        raise SystemExit(1) from error
    print(summary(written))


def export(options: argparse.Namespace, overrides: Sequence[str]) -> Export:
    """Load the checkpoint and the recipe's data, and write the folder."""
    from lightning.pytorch import LightningDataModule

    from lightning_monocon.cli.parts import build_part, read_recipe
    from lightning_monocon.export import DoubtfulExportWarning, export_model
    from lightning_monocon.runs.scratch import resolved_target

    if unknown := [word for word in overrides if word.startswith("-") and not word.startswith("--data.")]:
        raise ValueError(f"`monocon export` has no option {unknown[0]}; only `--data.` options go to the recipe.")
    recipe = read_recipe(options.config)
    resolved_target("--out", options.out)  # before the checkpoint and the data are read
    model = _model(options.ckpt, recipe)
    data = build_part(LightningDataModule, "data", recipe.get("data"), overrides)
    loaders, judged = _loaders(data)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".*LeafSpec.* is deprecated", FutureWarning)  # Lightning with torch 2.13
        warnings.filterwarnings("ignore", category=DoubtfulExportWarning)  # the summary says it
        return export_model(
            model,
            loaders[0],
            judged[1],
            options.out,
            searched=None if judged is loaders else judged[0],
            dim=options.dim,
            storage=options.dtype,
            forms=options.forms,
            tokenizer=options.tokenizer or getattr(data, "tokenizer_name", None),
            max_length=getattr(data, "max_length", None),
            vectors=options.vectors,
            tolerance=options.tolerance,
            sample=options.sample,
            even_so=options.even_so,
        )


def summary(written: Export) -> str:
    """What was written, in a few lines for a terminal."""
    from lightning_monocon.export.card import measured_table
    from lightning_monocon.scorecard.render.tables import Table

    facts = written.description.facts
    apart = ", ".join(f"{form} {value:.0e}" for form, value in facts["largest_difference"].items())
    losses = "\n".join(f"  {lost.sentence()}" for lost in written.losses)
    doubts = "".join(f"Warning: {doubt}\n\n" for doubt in written.doubts)
    return (
        f"{Table(*measured_table(written.lines)).as_text()}\n\n{losses}\n\n{doubts}"
        f"Written to {written.folder}/: {written.stamp.dimension} of {written.stamp.full_dimension} numbers "
        f"({100 * facts['explained']:.2f} % of the variance), {written.lines[-1].bytes} bytes a vector, space "
        f"{written.stamp.space}.\nLargest difference from the native model: {apart}."
    )


def _model(path: str, recipe: dict[str, Any]) -> MonoCon:
    """Load the checkpoint; an encoder that it cannot name is built as the recipe says."""
    from torch import nn

    from lightning_monocon.cli.parts import build_part
    from lightning_monocon.module import MonoCon
    from lightning_monocon.runs.checkpoints import read_checkpoint

    if read_checkpoint(path)["monocon"]["encoder"] is not None:
        return MonoCon.load_from_checkpoint(path)
    encoder = build_part(nn.Module, "encoder", (recipe.get("model") or {}).get("encoder"))
    return MonoCon.load_from_checkpoint(path, encoder=encoder)


def _loaders(data: LightningDataModule) -> tuple[Sequence[Iterable[object]], Sequence[Iterable[object]]]:
    """Gallery and query of the test split, and the two that judge: for pairs, their two sides."""
    data.prepare_data()
    data.setup("test")
    found = data.test_dataloader()
    if not isinstance(found, list | tuple) or len(found) != _PAIR:
        raise ValueError(
            "`data` must have a `test_dataloader` of two loaders, [gallery, query]; got "
            f"{len(found) if isinstance(found, list | tuple) else 'one'}."
        )
    if getattr(data, "has_classes", True):
        return found, found
    return found, data.predict_dataloader()


def _dimension(text: str) -> float:
    """A share of the variance, with a point in it, or a whole number."""
    return int(text) if text.isdecimal() else float(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "monocon export",
        description="Cut a trained model to the dimensions that count and write it as safetensors, ONNX, torch.export "
        "and, for text, a sentence-transformers model, with its calibration and a model card that says what it cost.",
        epilog="Words such as `--data.batch_size 64` override the recipe's data.",
        allow_abbrev=False,
    )
    parser.add_argument("--ckpt", type=expanded, required=True, help="checkpoint that `monocon fit` wrote")
    parser.add_argument(
        "-c", "--config", required=True, help="recipe whose data are the gallery: a name, a file, or RUN/config.yaml"
    )
    parser.add_argument("--out", type=expanded, required=True, help="folder to write; must not exist or be empty")
    parser.add_argument(
        "--dim", type=_dimension, default=0.99, help="share of the variance, or a number (default: %(default)s)"
    )
    parser.add_argument(
        "--dtype", choices=("float32", "int8", "binary"), default="float32", help="(default: %(default)s)"
    )
    parser.add_argument("--forms", nargs="+", choices=_FORMS, help="forms beside safetensors (default: all there are)")
    parser.add_argument(
        "--tokenizer", type=expanded, help="name or folder of the tokenizer (default: that of the data)"
    )
    parser.add_argument("--vectors", action="store_true", help="write the small vectors of gallery and query as well")
    parser.add_argument(
        "--sample", type=int, default=50_000, help="rows to calibrate and to measure on (default: %(default)s)"
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        help="most that a number of a form may differ from the native model (default: what the rounding of float32 "
        "explains)",
    )
    parser.add_argument(
        "--even-so", action="store_true", help="export a model that has collapsed, or finds less than half, as well"
    )
    return parser
