# SPDX-License-Identifier: Apache-2.0
"""Read an offline ``.wandb`` file: LevelDB log framing around W&B's public protobuf records."""

import json
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from helpers.patience import PATIENCE

HEADER, BLOCK = 7, 32768
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


@dataclass
class WandbLog:
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, str] = field(default_factory=dict)
    artifacts: list[Any] = field(default_factory=list)
    run: Any = None
    exit_code: int | None = None

    def column(self, name: str) -> list[Any]:
        return [row[name] for row in self.history if name in row]


def read_finished(path: Path, seconds: float = PATIENCE) -> WandbLog:
    """Read the log once its last record is there: W&B's own process may write on after `wandb.finish` has returned."""
    end = time.monotonic() + seconds
    while (log := read(path)).exit_code is None and time.monotonic() < end:
        time.sleep(0.1)
    return log


def read(path: Path) -> WandbLog:
    from wandb.proto.wandb_internal_pb2 import Record

    log = WandbLog()
    for raw in _records(path.read_bytes()):
        record = Record()
        record.ParseFromString(raw)
        kind = record.WhichOneof("record_type")
        if kind == "history":
            log.history.append(_values(record.history.item))
        elif kind == "summary":
            log.summary |= _values(record.summary.update)
        elif kind == "config":
            log.config |= _values(record.config.update)
        elif kind == "run":
            log.run = record.run
            log.config |= _values(record.run.config.update)
        elif kind == "metric":
            log.metrics[record.metric.name or record.metric.glob_name] = record.metric.step_metric
        elif kind == "artifact":
            log.artifacts.append(record.artifact)
        elif kind == "exit":
            log.exit_code = record.exit.exit_code
    return log


def _values(items: Any) -> dict[str, Any]:
    return {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


def _records(data: bytes) -> Iterator[bytes]:
    if len(data) < HEADER:
        return
    ident, magic, _version = struct.unpack("<4sHB", data[:HEADER])
    assert (ident, magic) == (b":W&B", 0xBEE1)
    offset, parts = HEADER, b""
    while offset + HEADER <= len(data):
        left = BLOCK - offset % BLOCK
        _crc, size, kind = struct.unpack("<IHB", data[offset : offset + HEADER]) if left >= HEADER else (0, 0, 0)
        if kind == 0:  # padding up to the next block
            offset += left
            continue
        if offset + HEADER + size > len(data):  # still being written
            return
        chunk = data[offset + HEADER : offset + HEADER + size]
        offset += HEADER + size
        parts = chunk if kind in (FULL, FIRST) else parts + chunk
        if kind in (FULL, LAST):
            yield parts
