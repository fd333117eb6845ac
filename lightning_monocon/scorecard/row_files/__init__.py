# SPDX-License-Identifier: Apache-2.0
"""Read embeddings that do not fit into memory, block by block, from many files of any program."""
