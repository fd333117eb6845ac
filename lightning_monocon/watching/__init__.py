# SPDX-License-Identifier: Apache-2.0
"""Watch a run on the semantic landscape: its probe, and the files, tables, figures and reports that it leaves."""
