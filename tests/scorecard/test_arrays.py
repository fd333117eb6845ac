# SPDX-License-Identifier: Apache-2.0
"""Files of other programs: unused arrays are left alone, damage is one sentence, and headers are not believed."""

from __future__ import annotations

import random
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from lightning_monocon.scorecard.arrays import array_names, read_array

Array = NDArray[Any]
ROWS = np.random.default_rng(0).normal(size=(24, 4)).astype(np.float32)
WORDS = np.array(["ant", "bee", "cow"] * 8)


def write_columns(path: Path, **columns: Any) -> Path:  # pyarrow ships no types
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pa.table(columns), path, row_group_size=10)
    return path


def assert_holds(path: Path, name: str, expected: Array) -> None:
    found = read_array(path, name)
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, expected)


def test_dictionary_encoded_columns_are_decoded(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    numbers = np.arange(24) % 3
    path = write_columns(
        tmp_path / "a.parquet",
        words=pa.array(WORDS.tolist()).dictionary_encode(),
        large=pa.array(WORDS.tolist(), pa.large_string()).dictionary_encode(),
        numbers=pa.array(numbers).dictionary_encode(),
        enum=pa.array(WORDS.tolist(), pa.dictionary(pa.uint8(), pa.string(), ordered=True)),
    )
    for name, expected in {"words": WORDS, "large": WORDS, "numbers": numbers, "enum": WORDS}.items():
        assert_holds(path, name, expected)


def test_every_form_of_a_column_of_rows_is_a_matrix(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    rows = ROWS.tolist()
    flat = pa.array(ROWS.reshape(-1))
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(ROWS.reshape(24, 2, 2))
    columns = {
        "list": pa.array(rows, pa.list_(pa.float32())),
        "large": pa.array(rows, pa.large_list(pa.float32())),
        "fixed": pa.FixedSizeListArray.from_arrays(flat, 4),
        "tensor": tensors,
    }
    if hasattr(pa, "list_view"):
        columns["view"] = pa.array(rows, pa.list_view(pa.float32()))
    path = write_columns(tmp_path / "a.parquet", **columns)
    for name in columns:
        assert_holds(path, name, ROWS)


def test_strings_of_every_layout_are_words(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    kinds = [pa.string(), pa.large_string(), *([pa.string_view()] if hasattr(pa, "string_view") else [])]
    path = write_columns(tmp_path / "a.parquet", **{str(kind): pa.array(WORDS.tolist(), kind) for kind in kinds})
    for kind in kinds:
        assert_holds(path, str(kind), WORDS)


def test_columns_that_nobody_asks_for_are_not_read(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    path = write_columns(
        tmp_path / "a.parquet",
        embeddings=pa.array(ROWS.tolist()),
        ragged=pa.array([[1] * (i % 3) for i in range(24)]),
        gaps=pa.array([None if i % 3 else [1.0] for i in range(24)]),
        structs=pa.array([[{"a": 1}] * (1 + i % 2) for i in range(24)]),
        nulls=pa.nulls(24),
        nested=pa.array([{"x": [i]} for i in range(24)]),
    )
    assert_holds(path, "embeddings", ROWS)
    assert array_names(path) == ["embeddings", "ragged", "gaps", "structs", "nulls", "nested"]


def test_objects_in_an_archive_matter_only_to_who_asks_for_them(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", rows=ROWS, paths=np.array(["p.jpg"] * 24, dtype=object))
    assert_holds(tmp_path / "a.npz", "rows", ROWS)
    with pytest.raises(
        TypeError, match=r"a.npz:paths holds Python objects, which are never unpickled: save strings as"
    ):
        read_array(tmp_path / "a.npz", "paths")


@pytest.mark.parametrize(
    ("column", "sentence"),
    [
        ([1, None, 3, None], r"a value in every row; .*a.parquet:x lacks 2 of 4 \(null; row 1 is the first\): fill"),
        (["a", "b", "c", None], r"a value in every row; .* lacks 1 of 4 \(null; row 3 is the first\)"),
        ([[1.0], [2.0], None, [3.0]], r"a value in every row; .* lacks 1 of 4 \(null; row 2 is the first\)"),
        ([[1.0, 2.0], [3.0, None]], r"a number in every place; the lists of .* lack 1 \(null; row 1 is the first\)"),
        ([[1.0], [1.0, 2.0]], r"lists of one length as embeddings; those of .*a.parquet:x have 1 to 2 numbers"),
        ([], r"at least one row; .*a.parquet:x has none"),
    ],
)
def test_gaps_in_a_column_are_named(tmp_path: Path, column: list[Any], sentence: str) -> None:
    pa = pytest.importorskip("pyarrow")
    path = write_columns(tmp_path / "a.parquet", x=pa.array(column, None if column else pa.int64()))
    with pytest.raises(ValueError, match=sentence):
        read_array(path, "x")


def test_a_null_in_a_dictionary_is_a_gap(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    column = pa.array(["a", None, "b"]).dictionary_encode()
    path = write_columns(tmp_path / "a.parquet", x=column)
    with pytest.raises(ValueError, match=r"lacks 1 of 3 \(null; row 1 is the first\)"):
        read_array(path, "x")


def test_a_column_of_another_kind_is_named(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    path = write_columns(tmp_path / "a.parquet", x=pa.array([{"a": 1}] * 3), y=pa.array([[["a"]]] * 3))
    with pytest.raises(TypeError, match=r"numbers, strings .*a.parquet:x holds values of type struct"):
        read_array(path, "x")
    with pytest.raises(TypeError, match=r"numbers, strings .*a.parquet:y holds values of type list"):
        read_array(path, "y")


def test_foreign_byte_order_and_long_doubles_are_read(tmp_path: Path) -> None:
    arrays: dict[str, Array] = {
        "floats": ROWS.astype(">f4"),
        "integers": np.arange(24, dtype=">i8"),
        "words": WORDS.astype(">U5"),
        "long": ROWS.astype(np.longdouble),
    }
    np.savez(tmp_path / "a.npz", **arrays)
    for name, array in arrays.items():
        assert_holds(tmp_path / "a.npz", name, array)
        found = read_array(tmp_path / "a.npz", name)
        assert isinstance(found, np.ndarray)
        assert found.dtype.isnative
        assert found.dtype.itemsize <= 8 or found.dtype.kind == "U"


def test_bfloat16_that_numpy_saved_without_its_name_says_what_to_save(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ROWS.astype(ml_dtypes.bfloat16))
    with pytest.raises(TypeError, match=r"a.npy is an array of \|V2, raw bytes, which is how np.save writes bfloat16"):
        read_array(tmp_path / "a.npy", "")
    np.save(tmp_path / "b.npy", ROWS.astype(complex))
    with pytest.raises(TypeError, match=r"b.npy is an array of complex128: save numbers as float32\."):
        read_array(tmp_path / "b.npy", "")


def header(shape: str, data: bytes = b"") -> bytes:
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + data


def assert_refused_without_memory(path: Path, sentence: str) -> None:
    tracemalloc.start()
    with pytest.raises(ValueError, match=sentence):
        read_array(path, array_names(path)[0])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize("shape", ["(1 << 37, 4)", "(10000000, 4)", "(3, 2)", "(-1, 4)"])
def test_a_header_that_claims_another_shape_costs_no_memory(tmp_path: Path, shape: str) -> None:
    shape = shape.replace("1 << 37", str(1 << 37))
    data = ROWS.astype("<f8").tobytes()
    (tmp_path / "a.npy").write_bytes(header(shape, data))
    assert_refused_without_memory(tmp_path / "a.npy", r"a.npy is not: its header claims the shape .* and 768 follow")
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rows.npy", header(shape, data))
    assert_refused_without_memory(tmp_path / "a.npz", r"a.npz is not: its header claims the shape .* and 768 follow")


def test_an_archive_whose_directory_claims_more_than_the_file_holds_costs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    claimed = header(f"({1 << 28},)")
    size = len(claimed) + (8 << 28)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("rows.npy", claimed)
    whole, real = path.read_bytes(), struct.pack("<L", len(claimed))
    for count in (1, 2):  # the uncompressed size alone, then the compressed one as well
        directory = whole.rindex(real * 2)
        sizes = (real if count == 1 else struct.pack("<L", size)) + struct.pack("<L", size)
        path.write_bytes(whole[:directory] + sizes + whole[directory + 8 :])
        assert_refused_without_memory(path, r"a.npz is not: rows.npy claims .* bytes, more than the file can hold")


def damaged(whole: bytes, draw: random.Random) -> bytes:
    if draw.random() < 0.3:
        return whole[: draw.randrange(len(whole))]
    altered = bytearray(whole)
    for _ in range(draw.choice([1, 1, 3])):
        altered[draw.randrange(len(altered))] = draw.randrange(256)
    return bytes(altered)


@pytest.mark.parametrize("kind", ["npy", "npz", "safetensors", "parquet"])
def test_altered_files_are_refused_in_one_sentence_or_read(tmp_path: Path, kind: str) -> None:
    path, draw = tmp_path / f"a.{kind}", random.Random(0)
    if kind == "parquet":
        pa = pytest.importorskip("pyarrow")
        write_columns(path, rows=pa.array(ROWS.tolist()), words=pa.array(WORDS.tolist()).dictionary_encode())
    elif kind == "npz":
        np.savez_compressed(path, rows=ROWS, words=WORDS)
    elif kind == "safetensors":
        save_file({"rows": ROWS, "more": ROWS + 1}, path)
    else:
        np.save(path, ROWS)
    whole, refused = path.read_bytes(), 0
    for _ in range(200):
        path.write_bytes(damaged(whole, draw))
        try:
            for name in array_names(path):
                read_array(path, name)
        except (ValueError, TypeError, MemoryError) as error:
            assert str(error).startswith("`files` must ")
            assert "\n" not in str(error)
            refused += 1
    assert refused > 50


def test_every_alteration_of_an_archive_is_seen(tmp_path: Path) -> None:
    path, draw = tmp_path / "a.npz", random.Random(1)
    np.savez(path, rows=ROWS)
    whole = path.read_bytes()
    for _ in range(300):
        path.write_bytes(damaged(whole, draw))
        try:
            found = read_array(path, array_names(path)[0]) if array_names(path) else ROWS
        except (ValueError, TypeError, KeyError):
            continue
        np.testing.assert_array_equal(found, ROWS)  # what was hit is metadata that says nothing of the values
