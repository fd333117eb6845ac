# SPDX-License-Identifier: Apache-2.0
"""Put codes into the store that people run, ask it, and check that it ranks them rightly."""

from lightning_monocon.stores.bundle import Bundle, read_bundle
from lightning_monocon.stores.check import Report, check
from lightning_monocon.stores.collection import Collection
from lightning_monocon.stores.columns import Column, column_of
from lightning_monocon.stores.load import load
from lightning_monocon.stores.registry import open_store

__all__ = ["Bundle", "Collection", "Column", "Report", "check", "column_of", "load", "open_store", "read_bundle"]
