# SPDX-License-Identifier: Apache-2.0
"""Encode images by any image model of transformers, by name or folder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, get_args

from torch import Tensor, nn

from lightning_monocon.encoders.hub import is_local, optional_package, reachable
from lightning_monocon.encoders.plain_config import architecture, fresh_model
from lightning_monocon.functional.checks import check_choice

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Pooling = Literal["auto", "mean", "first"]
_DTYPES = ("float32", "float16", "bfloat16", "float64")


class TransformersImageEncoder(nn.Module):
    """Encode images by a model of transformers' `AutoModel`: ResNet, ViT, ConvNeXt, Swin, DINOv2 and others.

    A folder needs no network. Code that comes with a model is never run. The data module must prepare the images: size,
    mean and standard deviation.

    Args:
        model: A local folder, or the name of a model on the hub.
        pretrained: Whether to load its weights, or only its architecture.
        revision: Branch, tag or commit on the hub.
        pooling: ``"auto"`` takes the model's own pooled output where it has one and the mean otherwise; ``"mean"``
            averages the last hidden state over tokens or positions; ``"first"`` takes its first token.
        config: The architecture as JSON instead of ``model``, with fresh weights: what a checkpoint stores.

    Raises:
        ValueError: If not exactly one of ``model`` and ``config`` is given, or the pooling does not fit.
        RuntimeError: If the model cannot be loaded.
        ModuleNotFoundError: If transformers is not installed.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        pretrained: bool = True,
        revision: str | None = None,
        pooling: Pooling = "auto",
        config: str | None = None,
    ) -> None:
        super().__init__()
        if (model is None) == (config is None):
            raise ValueError(f"`model` or `config` must be given, and not both; got {model!r} and {config!r}.")
        check_choice("pooling", pooling, get_args(Pooling))
        self.pooling = pooling
        if config is not None:
            self.network = _from_config(config)
            return

        transformers = optional_package("transformers", "vision")
        options: dict[str, Any] = {"trust_remote_code": False, "revision": revision or "main"}
        options["local_files_only"] = is_local(str(model))
        with reachable("model", str(model)):
            if pretrained:
                self.network = transformers.AutoModel.from_pretrained(model, **options)
            else:
                found = transformers.AutoConfig.from_pretrained(model, **options)
                self.network = transformers.AutoModel.from_config(found, trust_remote_code=False)
        self.train()  # as any new module; transformers returns pretrained ones in eval mode

    @property
    def out_features(self) -> int:
        """Return the number of features per image."""
        config = self.network.config
        sizes = getattr(config, "hidden_sizes", None)
        width = getattr(config, "hidden_size", None) or (sizes[-1] if sizes else None)
        if not isinstance(width, int):
            raise ValueError(
                f"`model` must have a width in its configuration; {type(config).__name__} has none. Pass `in_features`."
            )
        return width

    def spec(self) -> dict[str, object]:
        """Return architecture and pooling as plain values; the weights are in the checkpoint."""
        plain = self.network.config.to_dict()
        kept = {**architecture(plain), "dtype": plain.get("dtype") or "float32"}  # of the weights, as they were loaded
        return {"config": json.dumps(kept, sort_keys=True), "pooling": self.pooling}

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(N, C, H, W)`` to features ``(N, out_features)``."""
        output = self.network(pixel_values=images)
        pooled: Tensor | None = getattr(output, "pooler_output", None)
        if self.pooling == "auto" and pooled is not None:
            return pooled.flatten(1)
        hidden: Tensor = output.last_hidden_state
        if hidden.ndim == 4:  # (N, D, H, W): a convolutional network has positions, no tokens
            if self.pooling == "first":
                raise ValueError("`pooling` must not be 'first' for a model without tokens. Try 'mean'.")
            return hidden.mean(dim=(2, 3))
        return hidden[:, 0] if self.pooling == "first" else hidden.mean(dim=1)


def _from_config(config: str) -> PreTrainedModel:
    try:
        dtype = json.loads(config).get("dtype") or "float32"
    except (ValueError, AttributeError):
        dtype = "float32"  # `fresh_model` reports what is wrong with the JSON
    if dtype not in _DTYPES:
        raise ValueError(f"`config` must have a dtype of {', '.join(_DTYPES)}; got {dtype!r}.")
    return fresh_model(config, "vision", dtype)
