# SPDX-License-Identifier: Apache-2.0
"""Write the traced forms, ``torch.export`` (one ``.pt2``) and ONNX, from inputs to vectors and codes.

They take any number of rows and, of tokenised text, any length. Both files carry the stamp.
"""

from __future__ import annotations

import logging
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from lightning_monocon.export.gallery import Inputs
from lightning_monocon.export.stack import Exported
from lightning_monocon.export.stamp import KEY, Stamp, parse_stamp

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

PT2, ONNX = "embedder.pt2", "embedder.onnx"

_STAMP_FILE = f"{KEY}.json"
_ONNX_LIMIT = 3 << 29  # bytes; a protobuf beyond 2 GB must keep its weights in a second file


def trace(module: Exported, example: Inputs) -> ExportedProgram:
    """Trace encoder and stack with a free number of rows, and a free length where the inputs are tensors by name.

    Args:
        module: In eval mode, on the CPU.
        example: Inputs of at least two rows; images keep their size.

    Raises:
        ValueError: If the encoder cannot be traced, with what the tracer said.
    """
    free = torch.export.Dim.DYNAMIC
    shapes = {0: free} if isinstance(example, Tensor) else {name: {0: free, 1: free} for name in example}
    try:
        with torch.no_grad(), _quiet():
            return torch.export.export(module.eval(), (example,), dynamic_shapes=(shapes,))
    except Exception as error:  # the tracer raises dozens of kinds, its own among them
        raise ValueError(
            f"`model` must have an encoder that torch.export can trace; {type(module.encoder).__name__} is not: "
            f"{error}. Leave out the forms 'pt2' and 'onnx', or write the encoder without decisions on values."
        ) from error


def save_pt2(program: ExportedProgram, path: Path, stamp: Stamp) -> None:
    """Write the ``.pt2`` file."""
    torch.export.save(program, path, extra_files={_STAMP_FILE: stamp.as_json()})


def save_onnx(program: ExportedProgram, path: Path, stamp: Stamp, inputs: Sequence[str]) -> None:
    """Write the ``.onnx`` file, the same graph; raise ModuleNotFoundError without onnx and onnxscript."""
    for package in ("onnx", "onnxscript"):
        need(package)
    outputs = ["embeddings", "codes"][: len(program.graph_signature.user_outputs)]
    with _quiet():
        found: Any = torch.onnx.export(program, input_names=list(inputs), output_names=outputs, verbose=False)
    found.model.metadata_props[KEY] = stamp.as_json()
    size = sum(tensor.numel() * tensor.element_size() for tensor in program.state_dict.values())
    found.save(path, external_data=size > _ONNX_LIMIT)


def onnx_session(path: Path) -> InferenceSession:
    """Open an ``.onnx`` file on the CPU.

    Raises:
        ModuleNotFoundError: Without onnxruntime.
        ValueError: If the file is damaged.
    """
    runtime = need("onnxruntime")
    try:
        return runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common parent of their own
        raise ValueError(f"`path` must be a whole ONNX file; {path} is not: {error}.") from error


def run_onnx(session: InferenceSession, inputs: Inputs) -> tuple[Tensor, ...]:
    """Return the vectors, and the codes where there are some."""
    names = [each.name for each in session.get_inputs()]
    tensors = {names[0]: inputs} if isinstance(inputs, Tensor) else {name: inputs[name] for name in names}
    found = session.run(None, {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()})
    return tuple(torch.from_numpy(array) for array in found)


def stamp_of_onnx(path: Path) -> Stamp:
    """Read the stamp of an ``.onnx`` file."""
    properties: Mapping[str, str] = onnx_session(path).get_modelmeta().custom_metadata_map
    return parse_stamp(properties.get(KEY), path)


def stamp_of_pt2(path: Path) -> Stamp:
    """Read a ``.pt2`` file's stamp without loading the program; raise ValueError if the file has no whole one."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = [name for name in archive.namelist() if name.endswith(_STAMP_FILE)]
            return parse_stamp(archive.read(found[0]).decode() if found else None, path)
    except zipfile.BadZipFile as error:
        raise ValueError(f"`path` must be a whole .pt2 file; {path} is not: {error}.") from error


def need(package: str) -> ModuleType:
    """Import an optional package; raise ModuleNotFoundError, with the extra to install, if it is missing."""
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"`forms` with ONNX need {package}: `pip install 'lightning-monocon[export]'`, or leave 'onnx' out."
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what torch's exporter reports about itself: a deprecation, and operators of absent packages."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*LeafSpec.* is deprecated", FutureWarning)
            yield
    finally:
        logger.setLevel(level)
