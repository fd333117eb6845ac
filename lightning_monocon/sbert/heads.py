# SPDX-License-Identifier: Apache-2.0
"""Wrap the heads as modules of sentence-transformers, saved and loaded as its own modules are."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from sentence_transformers.base.modules import Module
from torch import Tensor, nn
from typing_extensions import Self

from lightning_monocon.export.sentence import dense_modules
from lightning_monocon.heads import MLPHead as FreeHead
from lightning_monocon.heads import MonotonicMLP
from lightning_monocon.heads.base import Head
from lightning_monocon.heads.init import FreeInit, Init
from lightning_monocon.kernels.monotone_linear import Activation
from lightning_monocon.kernels.monotone_linear.reference import Positive

_EMBEDDING = "sentence_embedding"


class HeadModule(Module):
    """Map the pooled embedding by a head of this package.

    Attributes:
        head: The head; its arithmetic is float32 at least, whatever the model's.
    """

    config_keys: list[str] = ["in_features", "hidden_features", "out_features", "num_layers"]  # noqa: RUF012  # theirs

    head: Head

    def forward(self, features: dict[str, Tensor], **kwargs: object) -> dict[str, Tensor]:
        """Replace ``features["sentence_embedding"]``, ``(N, in_features)``, by the head's ``(N, out_features)``.

        Raises:
            ValueError: If no module before this one has pooled the tokens.
        """
        if _EMBEDDING not in features:
            raise ValueError(
                f"`features` must hold {_EMBEDDING!r}, which a Pooling module writes; got "
                f"{', '.join(map(str, features))}: put the {type(self).__name__} after that module."
            )
        features[_EMBEDDING] = self.head(features[_EMBEDDING])
        return features

    def get_embedding_dimension(self) -> int:
        """Return the width of the embedding."""
        return self.head.out_features

    def get_config_dict(self) -> dict[str, Any]:
        """Return the constructor's arguments, as plain values."""
        widths = {
            "in_features": self.head.in_features,
            "hidden_features": self.head.layers[0].out_features,
            "out_features": self.head.out_features,
            "num_layers": len(self.head.layers) - 1,
        }
        own = {key: getattr(self.head, key) for key in self.config_keys if key not in widths}
        return widths | {key: value.tolist() if isinstance(value, Tensor) else value for key, value in own.items()}

    def save(self, output_path: str, *args: object, safe_serialization: bool = True, **kwargs: object) -> None:
        """Write ``config.json`` and the weights into a folder of their own."""
        self.save_config(output_path)
        self.save_torch_weights(output_path, safe_serialization=safe_serialization)

    @classmethod
    def load(
        cls,
        model_name_or_path: str,
        subfolder: str = "",
        token: bool | str | None = None,
        cache_folder: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        init_defaults: dict[str, Any] | None = None,
        **kwargs: object,
    ) -> Self:
        """Read what `save` wrote; of the library's arguments, those for other modules are not used.

        Args:
            model_name_or_path: Folder of the whole model, or its name on the hub.
            subfolder: Of this module in it.
            token: For the hub.
            cache_folder: Of the hub's files.
            revision: Of the model on the hub.
            local_files_only: Ask no hub.
            init_defaults: Arguments that ``config.json`` may leave out.
            **kwargs: Arguments for other modules.

        Raises:
            ValueError: If ``config.json`` holds an argument that the head does not take, or no weights are there.
            RuntimeError: If the weights are those of another head.
        """
        hub: dict[str, Any] = {
            "subfolder": subfolder,
            "token": token,
            "cache_folder": cache_folder,
            "revision": revision,
            "local_files_only": local_files_only,
        }
        config = {**(init_defaults or {}), **cls.load_config(model_name_or_path, **hub)}
        if unknown := set(config) - set(inspect.signature(cls).parameters):
            raise ValueError(
                f"`{cls.config_file_name}` must hold arguments of {cls.__name__}; that of {model_name_or_path} "
                f"({subfolder}) has {', '.join(sorted(unknown))}: a newer release of this package may have written it."
            )
        head = cls(**config)
        cls.load_torch_weights(model_name_or_path, model=head, **hub)
        return head

    def fold(self) -> list[nn.Module]:
        """Return the head as stock Dense modules, which load without this package."""
        return dense_modules(self.head.fold())


class MonotonicHead(HeadModule):
    """Map the pooled embedding by a `lightning_monocon.MonotonicMLP`, MonoCon's head.

    It comes after Pooling and, where the model has one, Normalize:

    .. code-block:: python

        model = SentenceTransformer("all-MiniLM-L6-v2")
        model.append(MonotonicHead(384, out_features=64, init="identity"))

    Args:
        in_features: Width of the embedding before it.
        hidden_features: Width of every hidden layer; None means twice ``in_features``.
        out_features: Width of the embedding after it; None means ``in_features``.
        num_layers: Number of hidden layers.
        parametrization: As in `lightning_monocon.MonotonicMLP`, like the other arguments.
        activation: See there.
        init: See there; ``"identity"`` starts as the model without a head.
        monotone: See there.

    Raises:
        ValueError: If `lightning_monocon.MonotonicMLP` raises one.

    Example:
        >>> import torch
        >>> MonotonicHead(8, out_features=2)({"sentence_embedding": torch.zeros(3, 8)})["sentence_embedding"].shape
        torch.Size([3, 2])
    """

    config_keys: list[str] = [*HeadModule.config_keys, "parametrization", "activation", "init", "monotone"]  # noqa: RUF012

    def __init__(
        self,
        in_features: int,
        hidden_features: int | None = None,
        out_features: int | None = None,
        num_layers: int = 1,
        *,
        parametrization: Positive = "square",
        activation: Activation = "leaky_relu",
        init: Init = "reference",
        monotone: Tensor | Sequence[int] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # theirs
        sizes = (in_features, hidden_features, out_features, num_layers)
        self.head: MonotonicMLP = MonotonicMLP(
            *sizes, parametrization=parametrization, activation=activation, init=init, monotone=monotone
        )


class MLPHead(HeadModule):
    """Map the pooled embedding by a `lightning_monocon.MLPHead`, the unconstrained twin of `MonotonicHead`.

    Args:
        in_features: Width of the embedding before it.
        hidden_features: Width of every hidden layer; None means twice ``in_features``.
        out_features: Width of the embedding after it; None means ``in_features``.
        num_layers: Number of hidden layers.
        activation: As in `lightning_monocon.MLPHead`.
        init: See there.

    Raises:
        ValueError: If `lightning_monocon.MLPHead` raises one.

    Example:
        >>> MLPHead(8, out_features=2).get_embedding_dimension()
        2
    """

    config_keys: list[str] = [*HeadModule.config_keys, "activation"]  # noqa: RUF012

    def __init__(
        self,
        in_features: int,
        hidden_features: int | None = None,
        out_features: int | None = None,
        num_layers: int = 1,
        *,
        activation: Activation = "leaky_relu",
        init: FreeInit = "default",
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # theirs
        self.head: FreeHead = FreeHead(
            in_features, hidden_features, out_features, num_layers, activation=activation, init=init
        )
