# SPDX-License-Identifier: Apache-2.0
"""A run watched on the semantic landscape: its probe, and the files, tables, figures and reports it leaves."""
