# SPDX-License-Identifier: Apache-2.0
"""Describe architectures of `transformers` by plain values, and build models from such descriptions.

A configuration of transformers can name more than sizes: a folder or hub model to start from, a backbone to download,
a kernel to fetch and run, code that comes with a model. A description therefore holds only numbers and words of closed
lists; the name of anything that would have to be read from elsewhere is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from lightning_monocon.encoders.hub import optional_package

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Not part of the architecture: its origin, code or kernels to fetch, the storage of weights, names of classes.
_LEFT_OUT = {
    "architectures",
    "attn_implementation",
    "auto_map",
    "dtype",
    "experts_implementation",
    "finetuning_task",
    "id2label",
    "label2id",
    "name_or_path",
    "prefix",
    "problem_type",
    "quantization_config",
    "task_specific_params",
    "tokenizer_class",
    "torch_dtype",
    "transformers_version",
}
_FETCHES = ("trust_remote_code", "use_pretrained_backbone", "backbone_kwargs")
_BACKBONE = "backbone"
"""Requested from a hub while the configuration is built, whatever its value."""
_SOURCE = re.compile(
    r"(.*_)?(backbone|paths?|files?|folder|dir|checkpoint|weights|repo|repo_id|url|dataset|model_name)"
)
"""Names of values that name a source; words of the closed lists could be folders, too."""
_ELSEWHERE = "timm_"
"""Types of models that pass a name to timm, which accepts hub models and folders."""

_WORDS = frozenset(
    # activations, by the names that transformers has had for them
    "celu elu gelu gelu_10 gelu_accurate gelu_fast gelu_new gelu_python gelu_python_tanh gelu_pytorch_tanh glu "
    "hardswish hardsigmoid hardtanh laplace leaky_relu linear mish prelu quick_gelu relu relu2 relu6 selu sigmoid silu "
    "softmax softplus swish tanh xielu gated-gelu gated-relu gated-silu "
    # positions
    "absolute alibi relative relative_key relative_key_query rotary rope sine sincos learned axial c2p p2c none "
    "default dynamic linear llama3 longrope proportional su yarn "
    # layers, attention, norms and pooling
    "full_attention sliding_attention chunked_attention linear_attention window_attention attention conv recurrent "
    "hybrid hybrid_sliding dense sparse moe mlp global local full basic bottleneck preactivation batch_norm batchnorm "
    "layer_norm rms_norm group_norm group no_norm weight_norm block_sparse original_full random bi uni "
    "mean max sum avg cls first last token cls_index late original valid same reflect constant zeros nearest bilinear "
    "large small".split()
)
_STAGE = re.compile(r"stem|stage\d+")


def architecture(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return only the architecture of a configuration, and of its parts."""
    return {name: _inner(value) for name, value in values.items() if not _left_out(name)}


def described(values: Mapping[str, Any]) -> str:
    """Return the architecture as JSON, from which `fresh_model` builds the same model."""
    return json.dumps(architecture(values), sort_keys=True)


def fresh_model(config: str, extra: str, dtype: str = "float32") -> PreTrainedModel:
    """Build the model of a description with fresh weights; nothing is read or fetched.

    Args:
        config: The architecture as JSON.
        extra: The extra that installs transformers.
        dtype: Data type of the weights.

    Raises:
        ValueError: If ``config`` names no architecture that transformers knows, or holds more than plain values.
        ModuleNotFoundError: If transformers is not installed.
    """
    transformers = optional_package("transformers", extra)
    try:
        values = architecture(json.loads(config))
        _check_plain(values)
        built = transformers.AutoConfig.for_model(values.pop("model_type"), **values)
        _check_plain(architecture(built.to_dict()))  # missing values take the default, which may name something too
        model: PreTrainedModel = transformers.AutoModel.from_config(built, trust_remote_code=False, dtype=dtype)
        return model
    except _Named as error:
        raise ValueError(
            f"`config` must describe an architecture by plain values; it has {error}, which could name something to "
            "read or download. Build the encoder yourself and pass it as `encoder=`."
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"`config` must be the architecture of a model of transformers as JSON; got {config[:80]!r}: {error!r}."
        ) from error


def check_plain(values: Mapping[str, Any]) -> None:
    """Check that a configuration of transformers holds plain values only.

    Raises:
        ValueError: If its kind is unknown, or it could name something to read or download.
    """
    try:
        _check_plain(architecture(values))
    except _Named as error:
        raise ValueError(f"it has {error}, which could name something to read or download") from None


class _Named(Exception):
    """Report a value that is not plain; the text names its place."""


def _left_out(name: str) -> bool:
    return name in _LEFT_OUT or name.startswith("_")


def _inner(value: object) -> object:
    if isinstance(value, Mapping):
        return architecture(value)
    return [_inner(each) for each in value] if isinstance(value, list | tuple) else value


def _check_plain(values: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> None:
    """Refuse a backbone by name, and a word that is neither the default of its kind of model nor in a closed list."""
    if values.get("model_type"):  # a part that is not a model has none, or ""
        defaults = _defaults(values["model_type"])
    for name, value in values.items():
        usual = (defaults or {}).get(name)
        if (name in _FETCHES and value) or (name == _BACKBONE and value is not None):
            raise _Named(f"{name} = {value!r}")
        for each in _flat(value):
            if isinstance(each, Mapping):
                _check_plain(each, usual if isinstance(usual, Mapping) else None)
            elif isinstance(each, str) and name != "model_type" and not _is_plain(name, each, usual):
                raise _Named(f"{name} = {each[:60]!r}")


def _defaults(kind: object) -> Mapping[str, Any]:
    """Return the default configuration of a kind of model."""
    from transformers import AutoConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        raise ValueError(f"model_type {kind!r} is unknown")
    if kind.startswith(_ELSEWHERE):
        raise _Named(f"model_type = {kind!r}")
    try:
        return architecture(AutoConfig.for_model(kind).to_dict())
    except Exception:  # a few kinds have no defaults, and each raises an error of its own
        return {}


def _flat(value: object) -> Iterator[object]:
    if isinstance(value, list):
        for each in value:
            yield from _flat(each)
    else:
        yield value


def _is_plain(name: str, word: str, usual: object) -> bool:
    if word in _flat(usual):
        return True
    return not _SOURCE.fullmatch(name) and (word in _WORDS or _STAGE.fullmatch(word) is not None)
