# SPDX-License-Identifier: Apache-2.0
"""Run `monocon export`: turn a checkpoint into a folder that makes small vectors without this package."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse import Namespace

from lightning_monocon.cli.config import recipe_file, refusing
from lightning_monocon.cli.imports import import_policy
from lightning_monocon.cli.options import CommandParser
from lightning_monocon.cli.yaml_files import read_recipe

if TYPE_CHECKING:
    from lightning.pytorch import LightningDataModule

    from lightning_monocon.codes import Codec
    from lightning_monocon.export import Known
    from lightning_monocon.export.writing import Export
    from lightning_monocon.functional.relevance import Relevance
    from lightning_monocon.learnt import LearntCode
    from lightning_monocon.module import MonoCon

_LEARNT = "learnt"
_PAIR = 2
_Form = Literal["onnx", "pt2", "sentence-transformers"]
_SWITCH: dict[str, Any] = {"type": bool, "nargs": "?", "const": True, "default": False}
"""Settings of an option that needs no value on the command line, and takes one in a file."""


def run(args: Sequence[str]) -> None:
    """Run the command.

    Args:
        args: ``["export", ...]``; words that begin with ``--data.`` override the recipe's data.

    Raises:
        SystemExit: With status 2 if an option, a file or the model does not fit; with 1 if a form came out wrong.
    """
    policy, words = import_policy(args)
    options, overrides = parser().parse(words[1:])
    options.config = recipe_file(options.config, policy.remote)
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    with refusing(), policy.enforced():
        written = export(options, overrides)
    print(summary(written))


def export(options: Namespace, overrides: Sequence[str]) -> Export:
    """Load the checkpoint and the recipe's data, and write the folder."""
    from lightning.pytorch import LightningDataModule

    from lightning_monocon.cli.recipe_parts import build_part
    from lightning_monocon.export import DoubtfulExportWarning, export_model
    from lightning_monocon.export.choice import one_code, read_code
    from lightning_monocon.runs.scratch import resolved_target

    recipe = read_recipe(options.config)
    resolved_target("--out", options.out)  # before the checkpoint and the data are read
    code = one_code(options.code, options.dtype)
    code = _learnt_code(options.ckpt) if code == _LEARNT else read_code(code, options.dim, None)
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
            code=code,
            centre=options.centre,
            forms=options.forms,
            tokenizer=options.tokenizer or getattr(data, "tokenizer_name", None),
            max_length=getattr(data, "max_length", None),
            vectors=options.vectors,
            tolerance=options.tolerance,
            sample=options.sample,
            even_so=options.even_so,
            known=_known(data),
            compatible=options.compatible,
        )


def summary(written: Export) -> str:
    """Return what was lost and written, in a few lines for a terminal."""
    from lightning_monocon.export.card import headline, measured_table
    from lightning_monocon.scorecard.render.tables import Table

    facts = written.description.facts
    apart = ", ".join(f"{form} {value:.0e}" for form, value in facts["largest_difference"].items())
    losses = "\n".join(f"  {lost.sentence()}" for lost in written.losses)
    doubts = "".join(f"Warning: {doubt}\n\n" for doubt in written.doubts)
    return (
        f"{headline(written.lines)}\n\n{Table(*measured_table(written.lines)).as_text()}\n\n{losses}\n\n{doubts}"
        f"Written to {written.folder}/: {written.stamp.dimension} of {written.stamp.full_dimension} numbers "
        f"({100 * facts['explained']:.2f} % of the variance), {written.size} a vector, space "
        f"{written.stamp.space}.\nLargest difference from the native model: {apart}."
    )


def _model(path: str, recipe: dict[str, Any]) -> MonoCon:
    """Load the checkpoint; an encoder that it cannot name is built as the recipe says."""
    from torch import nn

    from lightning_monocon.cli.recipe_parts import build_part
    from lightning_monocon.module import MonoCon
    from lightning_monocon.runs.checkpoints import read_checkpoint

    held = read_checkpoint(path)["monocon"]
    if held.get("learnt") is not None:
        return _learnt(path).head_alone()
    if held["encoder"] is not None:
        return MonoCon.load_from_checkpoint(path)
    encoder = build_part(nn.Module, "encoder", (recipe.get("model") or {}).get("encoder"))
    return MonoCon.load_from_checkpoint(path, encoder=encoder)


def _learnt(path: str) -> LearntCode:
    from lightning_monocon.learnt import LearntCode

    return LearntCode.load_from_checkpoint(path)


def _learnt_code(path: str) -> Codec:
    """Return the code that was trained with a checkpoint's head; raise ValueError if it has none."""
    from lightning_monocon.runs.checkpoints import read_checkpoint

    held = read_checkpoint(path)["monocon"]
    if held.get("learnt") is None:
        raise ValueError(
            f"`--code` learnt needs a checkpoint of a learnt code; {path} is of a model without one: name a code, or "
            "the folder of a codec that was fitted on the model's vectors."
        )
    if held["code"] is None:
        raise ValueError(
            f"`--code` learnt needs a checkpoint in which the code has been fitted; the warm-up of {path} had not "
            "ended: take a later one."
        )
    return _learnt(path).codec()


def _loaders(data: LightningDataModule) -> tuple[Sequence[Iterable[object]], Sequence[Iterable[object]]]:
    """Return gallery and query of the test split, and the two loaders that judge: for pairs, their two sides."""
    data.prepare_data()
    data.setup("test")
    found = data.test_dataloader()
    if not isinstance(found, list | tuple) or len(found) != _PAIR:
        raise ValueError(
            "`data` must have a `test_dataloader` of two loaders, [gallery, query]; got "
            f"{len(found) if isinstance(found, list | tuple) else 'one'}."
        )
    if getattr(data, "has_classes", True) or _answers(data) is not None:
        return found, found
    return found, data.predict_dataloader()


def _answers(data: LightningDataModule) -> Relevance | None:
    """Return the known answers of the test split, or None."""
    from lightning_monocon.callbacks.embedding_metrics import KnownAnswers

    return data.relevance("test") if isinstance(data, KnownAnswers) else None


def _known(data: LightningDataModule) -> Known:
    """Return the known answers and the graded pairs of the test split, as far as there are any."""
    from lightning_monocon.callbacks.sentence_similarity import ScoredPairs
    from lightning_monocon.export import Known

    if not isinstance(data, ScoredPairs) or (loader := data.similarity_dataloader("test")) is None:
        return Known(_answers(data))
    return Known(_answers(data), (loader, data.similarity_scores("test").tolist()))


def parser() -> CommandParser:
    """Return the parser of the command."""
    found = CommandParser(
        "export",
        usage="--ckpt FILE --config RECIPE --out FOLDER [OPTIONS]",
        about="Cut a trained model to the dimensions that count and write it as safetensors, ONNX, torch.export and, "
        "for text, a sentence-transformers model, with its calibration and a model card that says what it cost.",
        more="Options such as `--data.batch_size 64` override the recipe's data.\n",
        file="--options",
        paths=("ckpt", "out", "tokenizer"),
        passes_on="--data.",
    )
    add = found.add_argument
    add("--ckpt", type=str, required=True, help="A checkpoint that `monocon fit` wrote.")
    add("-c", "--config", type=str, required=True, help="The recipe of the gallery: a name, a file, RUN/config.yaml.")
    add("--out", type=str, required=True, help="A new or empty folder to write to.")
    add("--dim", type=int | float | None, help="A share of the variance, or a whole number (default: 0.99).")
    add(
        "--code",
        type=str,
        default="float32",
        help="How a vector is stored: float32, int8, binary, a code and its bytes, such as transform-32, the folder of "
        "a fitted codec, such as `monocon shrink` writes, or learnt: the code that was trained with the head.",
    )
    add("--dtype", type=str, help="A former name of --code.")
    add(
        "--centre",
        type=bool | Literal["auto"] | None,
        help="Subtract the gallery's mean (default: of numbers, not of codes); auto lets every second query choose.",
    )
    add(
        "--compatible",
        type=bool | None,
        help="Keep the numbers that search the gallery of an older model as they are (default: if the model was "
        "trained with compatible_with).",
    )
    _add_forms(found)
    return found


def _add_forms(parser: CommandParser) -> None:
    """Add what says which files are written, and when none is."""
    add = parser.add_argument
    add("--forms", nargs="+", type=_Form, help="Forms beside safetensors (default: all that the model allows).")
    add("--tokenizer", type=str, help="Name or folder of the tokenizer (default: that of the data).")
    add("--vectors", **_SWITCH, help="Write the small vectors of gallery and query as well.")
    add("--sample", type=int, default=50_000, help="Rows to calibrate and to measure on.")
    add(
        "--tolerance",
        type=float | None,
        default=None,
        help="The most that a number of a form may differ from the native model (default: what the rounding of float32 "
        "explains).",
    )
    add(
        "--even-so",
        **_SWITCH,
        help="Export even a model that has collapsed or keeps less than half of what its encoder finds.",
    )
