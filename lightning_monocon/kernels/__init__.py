# SPDX-License-Identifier: Apache-2.0
"""Operations with a readable twin: `reference.py` beside `kernel.py`, one switch in `__init__.py`."""
