# SPDX-License-Identifier: Apache-2.0
"""Stamp every file of an export with the space that its vectors belong to.

Two vectors may be compared only if the same weights made them, along the same basis, cut to the same dimension and
stored alike. Nothing in the numbers themselves says so, and a search over mixed spaces answers, wrongly, without an
error. So every artefact carries the hashes, and `check_same_space` compares them before two are joined.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

FORMAT = "lightning-monocon/export/2"
"""Layout and version of the artefact; the number grows when a reader of the old layout would go wrong."""

CODED = "lightning-monocon/export/3"
"""The same with a codec beside the model, of which a reader of the layout before would know nothing."""

OLD = "lightning-monocon/export/1"
"""The layout before: its stamp covers the weights, but neither the chain of layers nor the other files."""

KEY = "monocon"
"""Name under which files keep the stamp."""

NORMALISATION = "l2, centre, project, l2"
"""What happens to the head's output: unit length, minus the gallery's mean, principal components, unit length."""

UNCENTRED = "l2, project, l2"
"""The same where the mean is not subtracted."""

WHOLE = "l2"
"""The same before a code, which centres and projects by itself."""

DTYPE = "float32"
"""Of every number between the inputs and the vectors."""

_SAME = ("format", "model", "basis", "calibration", "chain", "dimension", "full_dimension", "storage", "normalisation")
_NEW = ("format", "chain")
"""What the layout before does not have."""


@dataclass(frozen=True)
class Stamp:
    """Hold what must agree before the vectors of two artefacts may be compared.

    Attributes:
        model: Hash of the encoder's and the head's weights.
        basis: Hash of the projection's weights.
        calibration: Hash of the calibration or of a codec's tables; that of nothing for float32.
        dimension: Numbers in a vector.
        full_dimension: Numbers in the head's output, before the cut.
        storage: How a number is kept, ``"float32"``, ``"int8"`` or ``"binary"``, or the code of a vector, such as
            ``"transform-32"``.
        config: Encoder and head as plain values, for people; the hashes decide.
        version: Of the package that wrote the artefact.
        normalisation: The steps behind the head.
        chain: Hash of the layers from features to vectors, their order, kinds, sizes and type of number.
        description: Hash of the encoder's description and the names of the inputs; files of one export share it, those
            of one space need not.
        format: `FORMAT`, or `CODED` for a code.
    """

    model: str
    basis: str
    calibration: str
    dimension: int
    full_dimension: int
    storage: str
    config: Mapping[str, object]
    version: str
    normalisation: str = NORMALISATION
    chain: str = ""
    description: str = ""
    format: str = FORMAT

    @property
    def space(self) -> str:
        """A short name of the space, such as ``"5f3a09c1-b1946ac9-16-int8"``, for the names of indices and tables."""
        return f"{self.model[:8]}-{self.basis[:8]}-{self.dimension}-{self.storage}"

    def as_json(self) -> str:
        """Return the stamp as one line of JSON, the same for the same stamp."""
        return json.dumps(asdict(self), sort_keys=True)


def parse_stamp(content: object, source: object) -> Stamp:
    """Return the stamp in a text or mapping; raise ValueError if it is missing, damaged or of another version."""
    try:
        values = json.loads(content) if isinstance(content, str) else content
    except json.JSONDecodeError:
        values = None
    if not isinstance(values, Mapping) or "format" not in values:
        raise ValueError(f"`path` must be written by `monocon export`; {source} has no stamp.")
    if values["format"] not in (FORMAT, CODED, OLD):
        raise ValueError(f"`path` must have the layout {FORMAT!r}; {source} has {values['format']!r}: export it again.")
    if values["format"] == OLD:
        values = {"chain": "", "description": "", **values}
    if missing := [field.name for field in fields(Stamp) if field.name not in values]:
        raise ValueError(f"`path` must have a whole stamp; that of {source} lacks {', '.join(missing)}.")
    return Stamp(**{field.name: values[field.name] for field in fields(Stamp)})


def chain_hash(layers: object, normalisation: str = NORMALISATION) -> str:
    """Return the hash of the chain from features to vectors."""
    return hash_values({"layers": layers, "dtype": DTYPE, "normalisation": normalisation})


def description_hash(encoder: object, inputs: object, calibration_rows: int) -> str:
    """Return the hash of what is said of the encoder and of its inputs."""
    return hash_values({"encoder": encoder, "inputs": inputs, "calibration_rows": calibration_rows})


def hash_values(values: object) -> str:
    """Return the SHA-256 of plain values, the same for the same values."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def differences(first: Stamp, second: Stamp) -> list[str]:
    """Return in words what keeps two stamps from being of one space; configs and versions may differ.

    A stamp of the layout before is compared by what it covers.
    """
    old = OLD in (first.format, second.format)
    names = [name for name in _SAME if not (old and name in _NEW and {first.format, second.format} <= {OLD, FORMAT})]
    pairs = [(name, getattr(first, name), getattr(second, name)) for name in names]
    return [f"{name} {_short(one)} and {_short(other)}" for name, one, other in pairs if one != other]


def _short(value: object) -> str:
    text = str(value)
    return text[:8] if len(text) == hashlib.sha256().digest_size * 2 else text
