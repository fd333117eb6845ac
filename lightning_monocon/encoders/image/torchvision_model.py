# SPDX-License-Identifier: Apache-2.0
"""Encode images by any classification model of torchvision, without its classifier."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import cast

from torch import Tensor, nn

from lightning_monocon.encoders.hub import reachable


class TorchvisionEncoder(nn.Module):
    """Encode images by a classification model of torchvision, cut before its last linear layer.

    torchvision must be a build for the installed torch; one for another build fails to import. `ResNet` needs none.

    Args:
        model: Name of the model, such as ``"resnet50"`` or ``"convnext_tiny"``.
        weights: A name that torchvision knows, such as ``"DEFAULT"`` or ``"IMAGENET1K_V1"`` (downloaded once).

    Raises:
        RuntimeError: If torchvision does not import, or the weights cannot be loaded.
        ValueError: If it has no such model, or the model does not end in a linear layer.
    """

    def __init__(self, model: str = "resnet34", weights: str | None = None) -> None:
        super().__init__()
        models = import_torchvision("torchvision.models")
        if model not in models.list_models(module=models):  # the others download a backbone even without weights
            raise ValueError(
                f"`model` and `weights` must be known to torchvision, got {model!r} and {weights!r}: that model is "
                "not one of `torchvision.models.list_models(module=torchvision.models)`, the classification models."
            )

        try:
            with reachable("weights", str(weights)):
                self.network: nn.Module = models.get_model(model, weights=weights)
        except (ValueError, KeyError) as error:
            raise ValueError(
                f"`model` and `weights` must be known to torchvision, got {model!r} and {weights!r}: {error}"
            ) from error

        self.model = model
        self._out_features = _cut_classifier(self.network, model)

    @property
    def out_features(self) -> int:
        """Return the number of features per image."""
        return self._out_features

    def spec(self) -> dict[str, object]:
        """Return the model's name; the weights are in the checkpoint."""
        return {"model": self.model}

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(N, C, H, W)`` to features ``(N, out_features)``."""
        return cast(Tensor, self.network(images)).flatten(1)


def import_torchvision(name: str) -> ModuleType:
    """Import a module of torchvision; raise RuntimeError if it is missing or was built for another torch."""
    try:
        return import_module(name)
    except (ImportError, RuntimeError, AttributeError) as error:  # a build for another torch fails in all three ways
        raise RuntimeError(
            f"torchvision must be installed in the build for this torch; importing {name} failed "
            f"({type(error).__name__}: {error}). Install that build, or use `ResNet` or `TransformersImageEncoder` for "
            "an encoder and a folder for the data."
        ) from error


def _cut_classifier(network: nn.Module, model: str) -> int:
    """Replace the last linear layer by the identity and return its width."""
    linears = [name for name, part in network.named_modules() if isinstance(part, nn.Linear)]
    last = linears[-1] if linears else ""
    if last.split(".")[0] not in ("fc", "classifier", "head", "heads"):
        raise ValueError(f"`model` must end in a linear classifier; {model!r} does not, and its last is {last!r}.")
    width = int(network.get_submodule(last).in_features)  # type: ignore[arg-type]  # an integer of nn.Linear
    network.set_submodule(last, nn.Identity())
    return width
