# SPDX-License-Identifier: Apache-2.0
"""The cases of the ahead-of-time compilation are read by a process of their own, not by pytest."""

collect_ignore = ["compile_cases.py"]
