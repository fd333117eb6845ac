# SPDX-License-Identifier: Apache-2.0
"""Load sentence pairs from files, and batch them without false negatives."""
