# SPDX-License-Identifier: Apache-2.0
"""Encode, decode and score with the codec of this folder, with NumPy and nothing else.

from codec_numpy import Codec
codec = Codec()                        # codec.json and codec.safetensors beside this file, or Codec(folder)
codes = codec.encode(rows)             # float (N, D) -> uint8 (N, codec.bytes_per_vector)
scores = codec.score(queries, codes)   # float (Q, D) -> float32 (Q, N); more is nearer
points = codec.decode(codes)           # float32 (N, D'), whose inner products with `codec.queries` are the scores

lightning-monocon wrote this file; its docs/codes.md specifies every byte.
"""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

_TYPES = {"F64": "<f8", "F32": "<f4", "I64": "<i8", "U8": "|u1"}
_SCORES = [("cosine", "whole"), ("cosine", "centred"), ("dot", "whole")]
_BLOCK = 1024  # rows encoded and codes scored at a time


class Codec:
    """Hold a folder's codec; ValueError if its files are damaged or altered, or a later version wrote them."""

    def __init__(self, folder: str | Path = Path(__file__).parent) -> None:
        values, tables = _read(Path(folder))
        kind, scores = values["quantiser"]["kind"], (values["space"]["similarity"], values["space"]["scoring"])
        if kind not in _KINDS or scores not in _SCORES:
            raise ValueError(f"`folder` must hold a codec of {[*_KINDS]}, {_SCORES}; {folder} has {kind!r}, {scores}.")
        self._encode, self._decode = _KINDS[kind]
        self._own = values["quantiser"], {name.removeprefix("quantiser."): table for name, table in tables.items()}
        self.bytes_per_vector: int = values["bytes_per_vector"]
        self._cosine, self._whole = scores[0] == "cosine", scores[1] == "whole"
        self._matrix = tables["space.matrix"].astype(np.float64)
        self._offset = tables["space.offset"]
        self._beyond = tables["space.mean"] - self._matrix.T @ self._offset  # what of the mean no coordinate holds

    def encode(self, rows: np.ndarray) -> np.ndarray:
        """Return the codes ``(N, bytes_per_vector)`` uint8 of finite rows ``(N, D)``."""
        if self._encode is None:
            raise NotImplementedError("Additive codes are not encoded here; use lightning-monocon or docs/codes.md.")
        scaled = self._scaled(rows, "rows")
        blocks = (scaled[start : start + _BLOCK] for start in range(0, len(rows) or 1, _BLOCK))
        return np.concatenate([self._encode(*self._own, block @ self._matrix.T - self._offset) for block in blocks])

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return codes ``(N, bytes_per_vector)`` as points ``(N, D')`` float32 of the scoring space."""
        if codes.dtype != np.uint8 or codes.ndim != 2 or codes.shape[1] != self.bytes_per_vector:
            raise ValueError(f"`codes` must be (N, {self.bytes_per_vector}) uint8; got {codes.shape} {codes.dtype}.")
        points = self._decode(*self._own, codes).astype(np.float64)
        if self._whole:
            points = np.insert(points + self._offset, len(self._offset), np.linalg.norm(self._beyond), axis=1)
        return (_unit(points) if self._cosine else points).astype(np.float32)

    def queries(self, rows: np.ndarray) -> np.ndarray:
        """Return queries ``(Q, D)`` as points ``(Q, D')`` float32 of the scoring space."""
        scaled = self._scaled(rows, "queries")
        if not self._whole:
            return _unit(scaled @ self._matrix.T - self._offset).astype(np.float32)
        return np.concatenate([scaled @ self._matrix.T, scaled @ _unit(self._beyond[None]).T], 1).astype(np.float32)

    def score(self, queries: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Return the scores ``(Q, N)`` float32 of float queries ``(Q, D)`` against codes; more is nearer."""
        return self._against(self.queries(queries), codes)

    def score_codes(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return the scores ``(M, N)`` float32 of codes against codes; more is nearer."""
        return self._against(self.decode(first), second)

    def _against(self, points: np.ndarray, codes: np.ndarray) -> np.ndarray:
        blocks = (codes[start : start + _BLOCK] for start in range(0, len(codes) or 1, _BLOCK))
        return np.concatenate([points @ self.decode(block).T for block in blocks], 1)

    def _scaled(self, rows: np.ndarray, name: str) -> np.ndarray:
        got, width = getattr(rows, "dtype", type(rows).__name__), self._matrix.shape[1:]
        if getattr(got, "kind", "") != "f":
            raise TypeError(f"`{name}` must be an array of floating-point numbers; got {got}: convert them.")
        if rows.shape[1:] != width or not np.isfinite(rows).all():
            raise ValueError(f"`{name}` must be (N, {width[0]}) finite numbers; got {rows.shape} {got}.")
        return _unit(rows.astype(np.float64)) if self._cosine else rows.astype(np.float64)


def _encode_levels(values: dict[str, Any], tables: dict[str, np.ndarray], coordinates: np.ndarray) -> np.ndarray:
    """Number of the nearest of a number's own levels, in 0 to 8 bits."""
    strings = [np.zeros((len(coordinates), 0), np.uint8)]
    for column, bits, stored in zip(coordinates.T, tables["bits"], tables["levels"], strict=True):
        levels = stored[: 2**bits].astype(np.float64)
        place = np.searchsorted((levels[1:] + levels[:-1]) / 2, column, side="left")
        strings.append((place[:, None] >> np.arange(bits)[::-1] & 1).astype(np.uint8))
    return np.packbits(np.concatenate(strings, 1), axis=1)


def _decode_levels(values: dict[str, Any], tables: dict[str, np.ndarray], codes: np.ndarray) -> np.ndarray:
    *strings, _ = np.split(np.unpackbits(codes, axis=1), np.cumsum(tables["bits"]), 1)
    places = (string @ (1 << np.arange(string.shape[1])[::-1]) for string in strings)
    return np.stack([levels[place] for levels, place in zip(tables["levels"], places, strict=True)], 1)


def _encode_half(values: dict[str, Any], tables: dict[str, np.ndarray], coordinates: np.ndarray) -> np.ndarray:
    """Float16, the low byte first."""
    return np.clip(coordinates + 0.0, -65504, 65504).astype(np.float32).astype("<f2").view(np.uint8)


def _decode_half(values: dict[str, Any], tables: dict[str, np.ndarray], codes: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(codes).view("<f2").astype(np.float32)


def _encode_product(values: dict[str, Any], tables: dict[str, np.ndarray], coordinates: np.ndarray) -> np.ndarray:
    """Number of a centroid per group and stage, found by a beam search."""
    centroids = [tables[f"centroids.{group}"] for group in range(values["groups"])]
    cuts = np.cumsum([table.shape[2] for table in centroids])[:-1]
    parts = zip(np.split(coordinates * tables["weights"], cuts, 1), centroids, strict=True)
    return np.concatenate([_search(part, table, values["beam"]) for part, table in parts], 1).astype(np.uint8)


def _decode_product(values: dict[str, Any], tables: dict[str, np.ndarray], codes: np.ndarray) -> np.ndarray:
    parts = enumerate(np.split(codes, values["groups"], 1))
    return np.concatenate([_decode_additive({}, {"centroids": tables[f"points.{g}"]}, part) for g, part in parts], 1)


def _decode_additive(values: dict[str, Any], tables: dict[str, np.ndarray], codes: np.ndarray) -> np.ndarray:
    summands = [table[own] for table, own in zip(tables["centroids"], codes.T, strict=True)]
    return np.asarray(np.add.reduce(summands))  # in float32, stage by stage


def _encode_rabit(values: dict[str, Any], tables: dict[str, np.ndarray], coordinates: np.ndarray) -> np.ndarray:
    """Odd numbers in the direction of the coordinates, and a factor."""
    bits, found, lower = values["bits"], np.ones_like(coordinates), np.arange(1, 2 ** values["bits"] - 1, 2)
    for row, sizes in zip(found, np.abs(coordinates), strict=True):
        reached = (sizes / max(sizes.max(), np.finfo(np.float64).tiny))[:, None] / (lower + 1)
        number, step = np.unravel_index(np.argsort(-reached, None, kind="stable"), reached.shape)
        products = np.cumsum(np.append(sizes.sum(), 2 * sizes[number]))
        cosines = products / np.sqrt(np.cumsum(np.append(len(sizes), 4 * (lower[step] + 1))))
        np.add.at(row, number[: (cosines >= cosines.max() * (1 - 2.0**-40)).argmax()], 2)  # first of equals
    found = np.where(coordinates > 0, found, -found)
    product, square = (found * coordinates).sum(1), (coordinates * coordinates).sum(1)
    factor = (square / np.where(product > 0, product, 1))[:, None]
    string = ((found + 2**bits - 1) / 2).astype(np.uint8)[:, :, None] >> np.arange(bits, dtype=np.uint8)[::-1] & 1
    packed = np.packbits(string.reshape(len(found), values["width"] * bits), axis=1)
    return np.concatenate([packed, factor.astype("<f4").view(np.uint8)], 1)


def _decode_rabit(values: dict[str, Any], tables: dict[str, np.ndarray], codes: np.ndarray) -> np.ndarray:
    form = values["width"], values["bits"]
    string = np.unpackbits(codes[:, :-4], axis=1, count=form[0] * form[1]).reshape(len(codes), *form)
    odd = np.asarray(string @ (2 << np.arange(form[1])[::-1]) + 1 - 2 ** form[1], np.float32)
    return odd * np.ascontiguousarray(codes[:, -4:]).view("<f4").astype(np.float32)


def _search(rows: np.ndarray, centroids: np.ndarray, beam: int) -> np.ndarray:
    """Return the numbers ``(N, stages)`` of a beam search among centroids ``(stages, 256, width)``."""
    left, codes, costs = rows[:, None], np.zeros((len(rows), 1, 0), np.int64), np.zeros((len(rows), 1))
    for table in centroids.astype(np.float64):
        every = (costs[:, :, None] + (table**2).sum(1) / 2 - left @ table.T).reshape(len(rows), costs.shape[1] * 256)
        kept = beam if codes.shape[2] < len(centroids) - 1 else 1
        best = np.argsort(every, 1, kind="stable")[:, :kept] if kept > 1 else every.argmin(1)[:, None]
        costs, parent, own = np.take_along_axis(every, best, 1), best // 256, best % 256
        left = np.take_along_axis(left, parent[:, :, None], 1) - table[own]
        codes = np.concatenate([np.take_along_axis(codes, parent[:, :, None], 1), own[:, :, None]], 2)
    return codes[:, 0]


_KINDS = {
    "levels": (_encode_levels, _decode_levels),
    "half": (_encode_half, _decode_half),
    "product": (_encode_product, _decode_product),
    "additive": (None, _decode_additive),
    "rabit": (_encode_rabit, _decode_rabit),
}


def _unit(rows: np.ndarray) -> np.ndarray:
    """Divide rows by their lengths; a power of two first, so that no square leaves the range, and zeros stay."""
    rows = np.ldexp(rows, -np.frexp(np.abs(rows).max(1, keepdims=True))[1])
    length = np.sqrt((rows * rows).sum(1, keepdims=True))
    return rows / np.where(length == 0, 1.0, length)


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the values of ``codec.json`` and the tables of ``codec.safetensors``."""
    text, data = (folder / "codec.json").read_bytes(), (folder / "codec.safetensors").read_bytes()
    try:
        values = json.loads(text)
        layout, stamp = values["layout"], values["stamp"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"`folder` must hold a whole codec; codec.json of {folder} is damaged.") from error
    if layout != 1:
        raise ValueError(f"`folder` must hold a codec of layout 1; {folder} has layout {layout}.")
    if hashlib.sha256(data + text.replace(str(stamp).encode(), b"0" * 64)).hexdigest() != stamp:
        raise ValueError(f"`folder` must hold the files of one codec as written; the stamp of {folder} does not fit.")
    size = 8 + struct.unpack("<Q", data[:8])[0]
    header, body = json.loads(data[8:size]), data[size:]
    flat = {name: np.frombuffer(body[slice(*of["data_offsets"])], _TYPES[of["dtype"]]) for name, of in header.items()}
    return values, {name: table.reshape(header[name]["shape"]) for name, table in flat.items()}
