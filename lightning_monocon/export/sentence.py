# SPDX-License-Identifier: Apache-2.0
"""Write the sentence-transformers form: the folder is a model of stock modules, and loads without this package.

Transformer, Pooling (and Normalize where the encoder ends in one), then a Dense per linear layer of the chain, and a
Normalize where it takes unit length. Classes are named as sentence-transformers 2 to 6 all know them, and nothing in
the folder needs ``trust_remote_code``.
"""

from __future__ import annotations

import inspect
import json
import re
import tempfile
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from lightning_monocon.encoders.hub import optional_package, reachable
from lightning_monocon.encoders.plain_config import check_plain
from lightning_monocon.encoders.text.model import TextEncoder
from lightning_monocon.encoders.text.sentence_transformers_model import SentenceTransformersEncoder
from lightning_monocon.encoders.text.tokenizer import load_tokenizer
from lightning_monocon.export.stack import UnitLength
from lightning_monocon.runs.files import write_text

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

CONFIG = "config.json"
_MODULES, _TRANSFORMER = "modules.json", "sentence_bert_config.json"
_LIBRARY = "sentence_transformers.sentence_transformer.modules"
_SETTINGS = "sentence_*_config.json"
_ADAPTER = "adapter_config.json"
"""Names another model, to be read instead of the one in the folder."""
_STOCK = re.compile(r"sentence_transformers(\.\w+)*\.models\.\w+")
_TORCH = re.compile(r"torch\.nn\.modules\.(activation|linear)\.\w+")
_GROUPS = ("_args", "_kwargs")
_GIVEN = ("add_pooling_layer",)
_POOLING = {"mean": "mean", "cls": "cls", "last": "lasttoken"}
_LOCAL = ("is_local", "local_files_only")
_PATHS = ("_name_or_path", "name_or_path", "model_name_or_path", "tokenizer_file", "special_tokens_map_file")


_OWN = (TextEncoder, SentenceTransformersEncoder)


def is_text(encoder: nn.Module) -> bool:
    """Return whether an encoder can become the first modules of a sentence-transformers model."""
    return _shipped(encoder) is not None or isinstance(encoder, _OWN)


def write_sentence_transformer(
    encoder: nn.Module,
    stack: nn.Sequential,
    folder: Path,
    scratch: Path,
    tokenizer: str | None = None,
    max_length: int | None = None,
) -> None:
    """Write ``modules.json``, weights and tokenizer.

    Args:
        encoder: a text encoder of this package, or a module that holds a ``SentenceTransformer``.
        stack: Features to vectors.
        folder: Where to.
        scratch: a folder for files on the way.
        tokenizer: Name or folder of the tokenizer; a module that holds a ``SentenceTransformer`` has its own.
        max_length: Longest text in tokens; by default the tokenizer's.

    Raises:
        ModuleNotFoundError: Without sentence-transformers.
        RuntimeError: If the tokenizer cannot be loaded.
        ValueError: If the tokenizer is not named, or the encoder is not a text encoder.
    """
    library = optional_package("sentence_transformers", "text")
    with tempfile.TemporaryDirectory(dir=scratch) as files:
        front = _shipped(encoder) or _built(encoder, tokenizer, Path(files))
        model = library.SentenceTransformer(modules=[*front, *dense_modules(stack)], device="cpu")
        if max_length is not None:
            model.max_seq_length = max_length
        model.eval().save_pretrained(str(folder), create_model_card=False)
    _finish(encoder, folder)


def check_stock(folder: Path, foreign: str) -> None:
    """Check that a folder names stock modules and plain values alone, before the library reads it.

    Args:
        folder: Of an export.
        foreign: Key of ``config.json`` that is not transformers'.

    Raises:
        ValueError: If a module, an activation or an argument is none of those that an export writes.
    """
    modules = _read(folder / _MODULES)
    places = [Path(module.get("path", "")) for module in modules]
    kinds = [str(module.get("type")) for module in modules]
    _refuse(folder, (str(place) for place in places if place.is_absolute() or ".." in place.parts))
    dense = [
        _read(folder / place / CONFIG) for place, kind in zip(places, kinds, strict=True) if kind.endswith(".Dense")
    ]
    settings = [_read(path) for place in {Path(), *places} for path in sorted((folder / place).glob(_SETTINGS))]
    wrong = [
        *(kind for kind in kinds if not _STOCK.fullmatch(kind)),
        *(text for each in dense if not _TORCH.fullmatch(text := str(each.get("activation_function")))),
        *(
            name
            for used in settings
            for group, given in used.items()
            if group.endswith(_GROUPS)
            for name in given or ()
            if name not in _GIVEN
        ),
        *(path.name for path in folder.rglob(_ADAPTER)),
    ]
    _refuse(folder, wrong)
    for place, kind in zip(places, kinds, strict=True):
        _check_transformer(folder / place / CONFIG, kind, foreign)


def _refuse(folder: Path, names: Iterable[str]) -> None:
    if wrong := ", ".join(names):
        raise ValueError(
            f"`path` must hold stock modules of sentence-transformers; {folder} names {wrong}. Load it with that "
            "library yourself if you trust it."
        )


def _check_transformer(path: Path, kind: str, foreign: str) -> None:
    content = _read(path) if path.is_file() else {}
    if kind.endswith(".Transformer") or "model_type" in content:
        try:
            check_plain({name: value for name, value in content.items() if name != foreign})
        except ValueError as error:
            raise ValueError(f"`path` must describe its transformer by plain values; in {path} {error}.") from error


def load_sentence_transformer(folder: Path) -> SentenceTransformer:
    """Load the folder as anyone would."""
    library = optional_package("sentence_transformers", "text")
    with reachable("path", str(folder)):
        model: SentenceTransformer = library.SentenceTransformer(str(folder), device="cpu", local_files_only=True)
        return model


def dense_modules(stack: Iterable[nn.Module]) -> list[nn.Module]:
    """Return Dense and Normalize modules for a chain of stock layers; an activation goes into the Dense before it."""
    library = import_module(_LIBRARY)
    found: list[nn.Module] = []
    layers = list(stack)
    for layer, following in zip(layers, [*layers[1:], None], strict=True):
        if isinstance(layer, UnitLength):
            found.append(library.Normalize())
        elif isinstance(layer, nn.Linear):
            plain = following is None or isinstance(following, nn.Linear | UnitLength)
            activation = nn.Identity() if plain else following
            module = library.Dense(
                layer.in_features, layer.out_features, bias=layer.bias is not None, activation_function=activation
            )
            module.linear.load_state_dict(layer.state_dict())
            found.append(module)
    return found


def _shipped(encoder: nn.Module) -> list[nn.Module] | None:
    """Return the modules of the sentence-transformers model that the encoder is or holds, a Router as a whole."""
    for part in (encoder, *encoder.children()):
        home = type(part).__module__.partition(".")[0]
        if home == "sentence_transformers" and isinstance(part, nn.Sequential):
            return list(part)
    return None


def _built(encoder: nn.Module, tokenizer: str | None, scratch: Path) -> list[nn.Module]:
    """Build Transformer, Pooling and what follows by way of a folder: their Transformer reads nothing else."""
    if not isinstance(encoder, _OWN):
        raise ValueError(
            "`forms` may name 'sentence-transformers' only for a text encoder of this package or a module that holds a "
            f"SentenceTransformer; got {type(encoder).__name__}: leave that form out."
        )
    if tokenizer is None:
        raise ValueError(
            "`tokenizer` must be given for the form 'sentence-transformers': the name or folder of the one that the "
            "model was trained with. Or leave that form out."
        )
    transformer: Any = encoder.transformer
    found: Any = load_tokenizer(tokenizer)
    found.save_pretrained(scratch)
    transformer.save_pretrained(scratch)
    arguments = _model_arguments(transformer)
    library = import_module(_LIBRARY)
    first = library.Transformer(str(scratch), **({"model_kwargs": arguments} if arguments else {}))
    if isinstance(encoder, SentenceTransformersEncoder):
        return [first, *encoder.steps]
    return [first, library.Pooling(encoder.out_features, pooling_mode=_POOLING[encoder.pooling])]


def _model_arguments(transformer: nn.Module) -> dict[str, bool]:
    """Leave out the pooler of BERT and similar models if the encoder has none, or each load would report it missing."""
    takes = "add_pooling_layer" in inspect.signature(type(transformer).__init__).parameters
    return {"add_pooling_layer": False} if takes and getattr(transformer, "pooler", None) is None else {}


def _finish(encoder: nn.Module, folder: Path) -> None:
    """Name classes as every version knows them, keep the model's arguments, and drop paths of this machine."""
    modules: list[dict[str, Any]] = _read(folder / _MODULES)
    for module in modules:
        if module["type"].startswith("sentence_transformers."):
            module["type"] = "sentence_transformers.models." + module["type"].rpartition(".")[2]
    _write(folder / _MODULES, modules)
    if arguments := _model_arguments(getattr(encoder, "transformer", encoder)):
        settings = _read(folder / _TRANSFORMER)
        settings.pop("model_kwargs", None)
        _write(folder / _TRANSFORMER, {**settings, "model_args": arguments})
    for path in folder.rglob("*.json"):
        if "config" in path.name:
            _write(path, _without_paths(_read(path)))


def _without_paths(content: object) -> object:
    """Replace folders of this machine by their last part, wherever a model's name stands; drop how it was found."""
    if isinstance(content, dict):
        kept = {}
        for name, value in content.items():
            if name in _LOCAL:
                continue
            local = name in _PATHS and isinstance(value, str) and Path(value).is_absolute()
            kept[name] = Path(value).name if local else _without_paths(value)
        return kept
    return [_without_paths(value) for value in content] if isinstance(content, list) else content


def _read(path: Path) -> Any:  # noqa: ANN401  # any JSON value
    return json.loads(path.read_text(encoding="utf-8"))


def _write(path: Path, content: object) -> None:
    write_text(path, json.dumps(content, indent=2) + "\n")
