# SPDX-License-Identifier: Apache-2.0
"""Write the model card: what the vectors are, what the cut cost, and how to load each form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lightning_monocon.codes import FILES
from lightning_monocon.codes.names import in_bytes
from lightning_monocon.export.artefact import HEAD, Description
from lightning_monocon.export.certificate import Proved
from lightning_monocon.export.lines import TRUTHS, Kind, Line, Loss, judging, loss
from lightning_monocon.export.stamp import CODED
from lightning_monocon.export.traced import ONNX, PT2

Cells = tuple[str, ...]
_LIBRARY = "sentence-transformers"

_NATIVE = """\
```python
from lightning_monocon.export import check_same_space, load

embedder = load("DIR")                         # refuses files of another export
vectors = embedder(inputs)                     # (N, {k}) float32, unit length
codes = embedder.calibration.codes(vectors)    # what is stored
check_same_space("DIR", "OTHER")               # raises before vectors of two spaces meet
```"""

_SENTENCE = """\
```python
from sentence_transformers import SentenceTransformer

vectors = SentenceTransformer("DIR").encode(["one sentence", "another"])    # (2, {k}) float32, unit length
```"""

_ONNX = """\
```python
import onnxruntime

session = onnxruntime.InferenceSession("DIR/{file}")
{outputs} = session.run(None, {{{inputs}}})
```"""

_PT2 = """\
```python
import torch

{outputs} = torch.export.load("DIR/{file}").module()({inputs})
```"""

_HEAD = """\
```python
import json, torch
from safetensors.torch import load_file

def vectors(features):                         # (N, {features}) float32, the encoder's output
    weights = load_file("DIR/{file}")
    for layer in json.load(open("DIR/config.json"))["monocon"]["layers"]:
        if layer["layer"] == "Linear":
            w, b = (weights[layer["name"] + part] for part in (".weight", ".bias"))
            features = torch.nn.functional.linear(features, w, b)
        elif layer["layer"] == "UnitLength":
            features = torch.nn.functional.normalize(features)
        else:
            features = getattr(torch.nn, layer["layer"])()(features)
    return features
```"""

_CODES = {
    "float32": "",
    "int8": "`codes` are `clip(round(vectors / step), -127, 127)` as int8, with `calibration.step` from "
    f"`{HEAD}`: one step for all numbers, a 127th of the largest magnitude in the gallery. A store may rank the codes "
    "as they are by inner product or cosine.",
    "binary": "`codes` are `numpy.packbits(vectors > 0, axis=1)`: a bit each, the first in the highest bit, compared "
    'by Hamming distance. FAISS and sentence-transformers (`precision="ubinary"`) have the same layout.',
}


_CODEC = """\
The gallery is stored as codes of {size}, and queries stay float32:

```python
from lightning_monocon import codes

codec = codes.load("DIR")                      # {files}
stored = codec.encode(vectors)                 # (N, {bytes}) uint8
scores = codec.score(queries, stored)          # (Q, N), more is nearer
```"""


def model_card(
    description: Description,
    lines: Sequence[Line],
    losses: Sequence[Loss],
    rows: tuple[int, int],
    doubts: Sequence[str] = (),
    proved: Proved | None = None,
) -> str:
    """Return ``README.md``, with the header that the Hugging Face hub reads; its first line says what is lost.

    Args:
        description: Of the artefact.
        lines: What was measured.
        losses: What the export costs against the encoder and the head's whole output, and the codes against float32.
        rows: Rows of the gallery and of the queries that it was measured on.
        doubts: What speaks against using it.
        proved: For how many queries rounding the features changes nothing.
    """
    stamp, facts = description.stamp, description.facts
    parts = [
        _front_matter(facts["forms"]),
        "# Small vectors",
        headline(lines),
        *(f"**Warning.** {doubt}" for doubt in doubts),
        _kept(description, lines),
        "## What was measured",
        f"{rows[0]} gallery rows, {rows[1]} queries{_units(lines[0])}. *Overlap*: share of the nearest rows by the "
        "whole vectors of the encoder, or of the head, that are among those found. Figures are in %, *Spearman* in "
        "hundredths.",
        _markdown(*measured_table(lines)),
        "\n".join(f"- {lost.sentence()}" for lost in losses),
        *([] if proved is None else [proved.sentence()]),
        "The rival in the table is the encoder alone, cut to as many numbers by PCA or in the same code: if it does as "
        "well, use that.",
        "## Loading",
        *_loading(description),
        "## Before vectors meet",
        f"Vectors of another model, basis, dimension or storage look alike and rank wrongly. `{stamp.space}` is the "
        "name of this space; every file here carries the stamp (`config.json`, the metadata of `.safetensors` and "
        "`.onnx`, `monocon.json` inside `.pt2`).",
        f"- model `{stamp.model}`\n- basis `{stamp.basis}`\n- normalisation: {stamp.normalisation}\n"
        f"- written by lightning-monocon {stamp.version}",
    ]
    return "\n\n".join(parts) + "\n"


def _kept(description: Description, lines: Sequence[Line]) -> str:
    """Return what a vector is."""
    stamp, facts = description.stamp, description.facts
    if stamp.format == CODED:
        return (
            f"The head's whole output at unit length, {stamp.dimension} numbers, kept as the code {stamp.storage}: "
            f"{in_bytes(lines[-1].bytes)}, where the numbers have {lines[2].bytes}. The code was fitted on "
            f"{description.calibration_rows} gallery rows. Space `{stamp.space}`."
        )
    old = facts.get("old_numbers", 0)  # an earlier version did not say
    beside = (
        f"The first {old}, at unit length, search the gallery of the older model that this one was trained beside. "
    )
    numbers = f"{beside}The others" if old else "The numbers"
    direction = "turned at random, so that every bit tells as much, " if stamp.storage == "binary" else ""
    return (
        f"{stamp.dimension} numbers a vector, kept as {stamp.storage}: "
        f"{in_bytes(lines[-1].bytes)}, where the head's whole output has {lines[2].bytes}. {numbers} are the leading "
        f"principal components of {facts['gallery_rows']} gallery rows "
        f"({100 * facts['explained']:.2f} % of the variance; rank {facts['rank']} of {stamp.full_dimension}), "
        f"{direction}at unit length: compare by cosine or inner product. Space `{stamp.space}`."
    )


def headline(lines: Sequence[Line]) -> str:
    """Return in one line what the shipped vectors lose against the encoder alone, by which truth."""
    encoder, shipped = lines[0], lines[-1]
    parts = [
        f"by {TRUTHS[kind]}, {shipped.name} instead of {encoder.name} {loss(encoder, shipped, kind).words()}"
        for kind in judging(encoder)
        if kind in TRUTHS
    ]
    lost = "; ".join(parts) or "nothing but the encoder's own neighbours is known of these rows"
    return (
        f"What is lost: {lost}. {100 * shipped.neighbours_kept:.1f} % of the nearest rows that the encoder finds, and "
        f"{100 * shipped.first_kept:.1f} % of its first answers, are found with {shipped.name} too: neighbours measure "
        "change, not quality."
    )


def _units(line: Line) -> str:
    """Return how many queries and pairs judge, where they are not all queries."""
    counted: Mapping[Kind, str] = {"qrels": "queries with known answers", "graded": "graded pairs"}
    return "".join(
        f", {len(line.values[kind][line.first(kind)])} {words}"
        for kind, words in counted.items()
        if kind in line.values
    )


def _front_matter(forms: Sequence[str]) -> str:
    text = _LIBRARY in forms
    tags = ["embeddings", "monocon", *([_LIBRARY] if text else []), *(["onnx"] if "onnx" in forms else [])]
    listed = "\n".join(f"- {tag}" for tag in tags)
    task = "sentence-similarity" if text else "feature-extraction"
    return f"---\nlibrary_name: {_LIBRARY if text else 'lightning-monocon'}\npipeline_tag: {task}\ntags:\n{listed}\n---"


def measured_table(lines: Sequence[Line]) -> tuple[Cells, tuple[Cells, ...]]:
    """Return the header and one row for each way to store the vectors, with a column for each figure in hundredths."""
    columns: list[tuple[Kind, str]] = [(kind, name) for kind, figures in lines[0].values.items() for name in figures]
    header = ("stored", "numbers", "bytes", *(name for _, name in columns))
    rows = (
        (line.name, str(line.dims), str(line.bytes), *(f"{100 * line.figure(*column):.1f}" for column in columns))
        for line in lines
    )
    return header, tuple(rows)


def _markdown(header: Cells, rows: Sequence[Cells]) -> str:
    rule = ("---", *("---:" for _ in header[1:]))
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, rule, *rows))


def _loading(description: Description) -> list[str]:
    """Return a section of code for each form, and the largest differences from the native model."""
    stamp, names = description.stamp, description.inputs
    checks: Mapping[str, float] = description.facts["largest_difference"]
    outputs = "vectors, codes" if stamp.storage in ("int8", "binary") else "vectors,"
    tensor = names == ["inputs"]
    feeds = ", ".join(f'"{name}": {name}' for name in names)
    code = {
        "sentence-transformers": ("sentence-transformers", _SENTENCE.format(k=stamp.dimension)),
        "onnx": ("ONNX", _ONNX.format(file=ONNX, outputs=outputs, inputs=feeds)),
        "pt2": ("torch.export", _PT2.format(file=PT2, outputs=outputs, inputs="inputs" if tensor else f"{{{feeds}}}")),
    }
    widths = [layer["in_features"] for layer in description.layers if layer["layer"] == "Linear"]
    width = widths[0] if widths else stamp.full_dimension
    found = [f"On the same rows the largest difference from the native model was {_differences(checks)}."]
    for form, (title, text) in code.items():
        if form in checks:
            found.append(f"{title}, without this package:\n\n{text}")
    found += [f"The head alone, from plain weights:\n\n{_HEAD.format(features=width, file=HEAD)}"]
    found += [f"With this package:\n\n{_NATIVE.format(k=stamp.dimension)}"]
    if stamp.format == CODED:
        size = int(stamp.storage.rpartition("-")[2])
        return [*found, _CODEC.format(bytes=size, size=in_bytes(size), files=", ".join(FILES))]
    return [*found, _CODES[stamp.storage]] if _CODES[stamp.storage] else found


def _differences(checks: Mapping[str, float]) -> str:
    return ", ".join(f"{value:.0e} ({form})" for form, value in checks.items())
