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

LAYOUT = 1
_TYPES = {"F64": "<f8", "F32": "<f4", "I64": "<i8", "U8": "|u1"}
_BLOCK = 1024  # rows encoded and codes scored at a time


class Codec:
    """Hold a folder's codec; ValueError if its files are damaged or altered, or a later version wrote them."""

    def __init__(self, folder: str | Path = Path(__file__).parent) -> None:
        values, tables = _read(Path(folder))
        kind = values["quantiser"]["kind"]
        if kind not in _KINDS:
            raise ValueError(f"`folder` must hold a codec of kind {', '.join(_KINDS)}; {folder} has kind {kind!r}.")
        own = {name[len("quantiser.") :]: table for name, table in tables.items() if name.startswith("quantiser.")}
        self._quantiser = _KINDS[kind](values["quantiser"], own)
        self.bytes_per_vector: int = values["bytes_per_vector"]
        self._cosine = values["space"]["similarity"] == "cosine"
        self._whole = values["space"]["scoring"] == "whole"
        self._matrix = tables["space.matrix"].astype(np.float64)
        self._offset = tables["space.offset"]
        self._beyond = tables["space.mean"] - self._matrix.T @ self._offset  # what of the mean no coordinate holds

    def encode(self, rows: np.ndarray) -> np.ndarray:
        """Return the codes ``(N, bytes_per_vector)`` uint8 of finite rows ``(N, D)``."""
        scaled = self._scaled(rows, "rows")
        codes = np.empty((len(rows), self.bytes_per_vector), np.uint8)
        for start in range(0, len(rows), _BLOCK):
            block = slice(start, start + _BLOCK)
            codes[block] = self._quantiser.encode(scaled[block] @ self._matrix.T - self._offset)
        return codes

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return codes ``(N, bytes_per_vector)`` as points ``(N, D')`` float32 of the scoring space."""
        if codes.dtype != np.uint8 or codes.ndim != 2 or codes.shape[1] != self.bytes_per_vector:
            raise ValueError(f"`codes` must be (N, {self.bytes_per_vector}) uint8; got {codes.shape} {codes.dtype}.")
        points = self._quantiser.decode(codes).astype(np.float64)
        if self._whole:
            beyond = np.full((len(points), 1), np.linalg.norm(self._beyond))
            points = np.concatenate([points + self._offset, beyond], 1)
        return (_unit(points) if self._cosine else points).astype(np.float32)

    def queries(self, rows: np.ndarray) -> np.ndarray:
        """Return queries ``(Q, D)`` as points ``(Q, D')`` float32 of the scoring space."""
        scaled = self._scaled(rows, "queries")
        if not self._whole:
            return _unit(scaled @ self._matrix.T - self._offset).astype(np.float32)
        direction = self._beyond / max(float(np.linalg.norm(self._beyond)), np.finfo(np.float64).tiny)
        return np.concatenate([scaled @ self._matrix.T, (scaled @ direction)[:, None]], 1).astype(np.float32)

    def score(self, queries: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Return the scores ``(Q, N)`` float32 of float queries ``(Q, D)`` against codes; more is nearer."""
        return self._against(self.queries(queries), codes)

    def score_codes(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return the scores ``(M, N)`` float32 of codes against codes; more is nearer."""
        return self._against(self.decode(first), second)

    def _against(self, points: np.ndarray, codes: np.ndarray) -> np.ndarray:
        scores = np.empty((len(points), len(codes)), np.float32)
        for start in range(0, len(codes), _BLOCK):
            scores[:, start : start + _BLOCK] = points @ self.decode(codes[start : start + _BLOCK]).T
        return scores

    def _scaled(self, rows: np.ndarray, name: str) -> np.ndarray:
        width = self._matrix.shape[1]
        if rows.ndim != 2 or rows.shape[1] != width or not np.isfinite(rows).all():
            raise ValueError(f"`{name}` must be (N, {width}) finite numbers; got {rows.shape} {rows.dtype}.")
        wide = rows.astype(np.float64)
        return _unit(wide) if self._cosine else wide


class _Levels:
    """Number of the nearest of a number's own levels, in 0 to 8 bits."""

    def __init__(self, values: dict[str, Any], tables: dict[str, np.ndarray]) -> None:
        self._levels = tables["levels"]
        self._bits = [int(bits) for bits in tables["bits"]]

    def encode(self, coordinates: np.ndarray) -> np.ndarray:
        strings = [np.zeros((len(coordinates), 0), np.uint8)]
        for j, bits in enumerate(self._bits):
            levels = self._levels[j, : 2**bits].astype(np.float64)
            place = np.searchsorted((levels[1:] + levels[:-1]) / 2, coordinates[:, j], side="left")
            strings.append((place[:, None] >> np.arange(bits)[::-1] & 1).astype(np.uint8))
        return np.packbits(np.concatenate(strings, 1), axis=1)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        string, first = np.unpackbits(codes, axis=1).astype(np.int64), 0
        coordinates = np.empty((len(codes), len(self._bits)), np.float32)
        for j, bits in enumerate(self._bits):
            place = string[:, first : first + bits] @ (1 << np.arange(bits)[::-1])
            coordinates[:, j] = self._levels[j, place]
            first += bits
        return coordinates


class _Half:
    """Float16, the low byte first."""

    def __init__(self, values: dict[str, Any], tables: dict[str, np.ndarray]) -> None:
        pass

    def encode(self, coordinates: np.ndarray) -> np.ndarray:
        rounded = np.clip(coordinates + 0.0, -65504, 65504).astype(np.float32).astype("<f2")
        return rounded.view(np.uint8)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(codes).view("<f2").astype(np.float32)


class _Product:
    """Number of a centroid per group and stage, found by a beam search."""

    def __init__(self, values: dict[str, Any], tables: dict[str, np.ndarray]) -> None:
        self._weights, self._beam = tables["weights"].astype(np.float64), values["beam"]
        self._centroids = [tables[f"centroids.{group}"].astype(np.float64) for group in range(values["groups"])]
        self._points = [tables[f"points.{group}"] for group in range(values["groups"])]

    def encode(self, coordinates: np.ndarray) -> np.ndarray:
        cuts = np.cumsum([table.shape[2] for table in self._centroids])[:-1]
        parts = np.split(coordinates * self._weights, cuts, 1)
        found = [self._search(part, table) for part, table in zip(parts, self._centroids, strict=True)]
        return np.concatenate(found, 1).astype(np.uint8)

    def _search(self, rows: np.ndarray, centroids: np.ndarray) -> np.ndarray:
        left, codes = rows[:, None], np.zeros((len(rows), 1, 0), np.int64)
        costs = np.zeros((len(rows), 1))
        for table in centroids:
            every = (costs[:, :, None] + (table * table).sum(1) / 2 - left @ table.T).reshape(len(rows), -1)
            kept = self._beam if codes.shape[2] < len(centroids) - 1 else 1
            best = np.argsort(every, 1, kind="stable")[:, :kept] if kept > 1 else every.argmin(1)[:, None]
            costs, parent, own = np.take_along_axis(every, best, 1), best // 256, best % 256
            left = np.take_along_axis(left, parent[:, :, None], 1) - table[own]
            codes = np.concatenate([np.take_along_axis(codes, parent[:, :, None], 1), own[:, :, None]], 2)
        return codes[:, 0]

    def decode(self, codes: np.ndarray) -> np.ndarray:
        parts = []
        for group, tables in enumerate(self._points):
            own = codes[:, group * len(tables) : (group + 1) * len(tables)]
            total = tables[0][own[:, 0]]
            for stage in range(1, len(tables)):
                total = total + tables[stage][own[:, stage]]
            parts.append(total)
        return np.concatenate(parts, 1)


_KINDS: dict[str, Any] = {"levels": _Levels, "half": _Half, "product": _Product}


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
    if layout != LAYOUT:
        raise ValueError(f"`folder` must hold a codec of layout {LAYOUT}; {folder} has layout {layout}.")
    if hashlib.sha256(data + text.replace(str(stamp).encode(), b"0" * 64)).hexdigest() != stamp:
        raise ValueError(f"`folder` must hold the files of one codec as written; the stamp of {folder} does not fit.")
    size = 8 + struct.unpack("<Q", data[:8])[0]
    tables = {}
    for name, entry in json.loads(data[8:size]).items():
        first, last = entry["data_offsets"]
        tables[name] = np.frombuffer(data[size + first : size + last], _TYPES[entry["dtype"]]).reshape(entry["shape"])
    return values, tables
