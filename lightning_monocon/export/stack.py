# SPDX-License-Identifier: Apache-2.0
"""Build the head, centring and projection of stock layers: features in, small unit vectors out.

``Linear, LeakyReLU, Linear`` (the head, its weights already mapped), unit length, ``Linear`` (centring and
projection), unit length; for a code the first unit length is the end. Any program that multiplies matrices can run it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from itertools import count
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from lightning_monocon.encoders.wrapped import plain_names
from lightning_monocon.export.calibration import Calibration, Stored
from lightning_monocon.export.projection import Projection
from lightning_monocon.runs.digest import hash_tensors

LayerSpec: TypeAlias = dict[str, object]
"""``{"layer": kind, **sizes}``; a linear layer names its tensors ``<name>.weight`` and ``<name>.bias``."""

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "LeakyReLU": nn.LeakyReLU,
    "ReLU": nn.ReLU,
    "ELU": nn.ELU,
    "Tanh": nn.Tanh,
    "GELU": nn.GELU,
}
"""Stock activations, with their default constants."""


class UnitLength(nn.Module):
    """Divide every row by its Euclidean length; a row of zeros stays zero."""

    def forward(self, rows: Tensor) -> Tensor:
        """Return unit rows of the shape of ``rows`` ``(N, D)``."""
        # the usual 1e-12 is zero in float16, whose smallest number is 2^-24
        return normalize(rows, eps=2.0**-24 if rows.dtype == torch.float16 else 1e-12)


class VectorModule(nn.Sequential):
    """Run encoder and stack as one module, inputs to vectors ``(N, out_features)``."""

    def __init__(self, encoder: nn.Module, stack: nn.Module, out_features: int) -> None:
        super().__init__(encoder, stack)
        self.out_features = out_features


class Exported(nn.Module):
    """Run encoder and stack as one module, for tracing: inputs to vectors, and to codes of int8 or bits.

    A codec is not traced: it computes in float64, and its own files encode.
    """

    def __init__(self, encoder: nn.Module, stack: nn.Module, calibration: Stored) -> None:
        super().__init__()
        self.encoder, self.stack = encoder, stack
        self._calibration = calibration if isinstance(calibration, Calibration) else None
        if self._calibration is not None:
            self.register_buffer("step", self._calibration.step.clone())

    def forward(self, inputs: Tensor | Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Return the vectors ``(N, k)``, float32, and for int8 and binary their codes."""
        vectors = self.stack(self.encoder(inputs))
        if self._calibration is None or self._calibration.storage == "float32":
            return (vectors,)
        calibration = Calibration(self._calibration.storage, self.get_buffer("step"), self._calibration.rows)
        return vectors, calibration.codes(vectors)


def fold(head: nn.Module) -> list[nn.Module]:
    """Return the head as stock layers, float32, in eval mode, without gradients.

    Raises:
        ValueError: If it is a module of your own that is not a chain of stock layers.
    """
    own = getattr(head, "fold", None)
    folded = cast("nn.Module", own()) if callable(own) else head
    layers = list(folded) if isinstance(folded, nn.Sequential) else [folded]
    kept = [layer for layer in layers if not isinstance(layer, nn.Identity | nn.Dropout)]
    for layer in kept:
        if not isinstance(layer, nn.Linear) and not _stock(layer):
            raise ValueError(
                f"`head` must be a head of this package or a chain of Linear and {', '.join(_ACTIVATIONS)} layers with "
                f"their default constants; got {layer}. Give it a method `fold` that returns such a chain."
            )
    plain = (_plain_linear(layer) if isinstance(layer, nn.Linear) else deepcopy(layer) for layer in kept)
    return [layer.float().eval().requires_grad_(False) for layer in plain]


def vector_stack(head: Sequence[nn.Module], projection: Projection | None) -> nn.Sequential:
    """Return the whole chain from features ``(N, F)`` to vectors ``(N, k)``, or without a projection ``(N, D)``."""
    cut = () if projection is None else (projection.layer(), UnitLength())
    return nn.Sequential(*head, UnitLength(), *cut).eval()


def projection_layer(stack: nn.Sequential) -> nn.Linear | None:
    """Return the projection of a chain; None if it has none."""
    layers = [None, None, *stack]
    found = layers[-2]
    return found if isinstance(found, nn.Linear) and isinstance(layers[-3], UnitLength) else None


def describe(stack: nn.Sequential) -> list[LayerSpec]:
    """Return the chain as plain values, from which `rebuild` makes it again."""
    numbers, specs = count(), list[LayerSpec]()
    for layer in stack:
        if isinstance(layer, nn.Linear):
            sizes = {"in_features": layer.in_features, "out_features": layer.out_features}
            specs.append({"layer": "Linear", "name": f"linear{next(numbers)}", **sizes})
        else:
            specs.append({"layer": type(layer).__name__})
    return specs


def stack_tensors(stack: nn.Sequential) -> dict[str, Tensor]:
    """Return the weights under the names of `describe`."""
    found: dict[str, Tensor] = {}
    for spec, layer in zip(describe(stack), stack, strict=True):
        if isinstance(layer, nn.Linear):
            found |= {f"{spec['name']}.{name}": tensor for name, tensor in layer.state_dict().items()}
    return {name: tensor.clone().contiguous() for name, tensor in found.items()}


def rebuild(specs: Sequence[Mapping[str, object]], tensors: Mapping[str, Tensor]) -> nn.Sequential:
    """Return the chain that `describe` described; raise ValueError if a layer is unknown or a weight does not fit."""
    return nn.Sequential(*(_layer(spec, tensors) for spec in specs)).eval().requires_grad_(False)


def _layer(spec: Mapping[str, object], tensors: Mapping[str, Tensor]) -> nn.Module:
    kind, name = spec.get("layer"), spec.get("name")
    if kind == "UnitLength":
        return UnitLength()
    if isinstance(kind, str) and kind in _ACTIVATIONS:
        return _ACTIVATIONS[kind]()
    shape = (spec.get("out_features"), spec.get("in_features"))
    weight, bias = tensors.get(f"{name}.weight"), tensors.get(f"{name}.bias")
    if kind != "Linear" or weight is None or bias is None or tuple(weight.shape) != shape:
        raise ValueError(
            f"`path` must describe layers whose weights it holds; {dict(spec)} is unknown or has no weights of that "
            f"shape among {', '.join(sorted(tensors))}: the files belong to different exports."
        )
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer


@torch.no_grad()
def _plain_linear(layer: nn.Linear) -> nn.Linear:
    """Return a linear layer with two tensors, a weight and a bias, as an export keeps it and `rebuild` makes it again.

    One of your own may have no bias, or a weight that is computed from other tensors (`torch.nn.utils`).
    """
    weight = layer.weight.detach()
    bias = weight.new_zeros(len(weight)) if layer.bias is None else layer.bias.detach()
    found = nn.Linear(weight.shape[1], weight.shape[0], device=weight.device, dtype=weight.dtype)
    found.load_state_dict({"weight": weight, "bias": bias})
    return found


def _stock(layer: nn.Module) -> bool:
    kind = _ACTIVATIONS.get(type(layer).__name__)
    return kind is type(layer) and repr(layer) == repr(kind())


def basis_hash(stack: nn.Sequential) -> str:
    """Return the hash of the projection in a chain, of nothing if it has none."""
    projection = projection_layer(stack)
    return hash_tensors({} if projection is None else projection.state_dict())


def model_hash(encoder: nn.Module, stack: nn.Sequential) -> str:
    """Return the hash of the encoder and of the chain before the projection."""
    names = plain_names(encoder)
    weights = {f"encoder.{names[name]}": tensor for name, tensor in encoder.state_dict().items()}
    projection = projection_layer(stack)
    for i, layer in enumerate(layer for layer in _linears(stack) if layer is not projection):
        weights |= {f"head.{i}.{name}": tensor for name, tensor in layer.state_dict().items()}
    return hash_tensors(weights)


def _linears(stack: nn.Sequential) -> list[nn.Module]:
    return [layer for layer in stack if isinstance(layer, nn.Linear)]
