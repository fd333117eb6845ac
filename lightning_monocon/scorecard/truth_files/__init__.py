# SPDX-License-Identifier: Apache-2.0
"""Read files of known answers: relevance judgements (qrels), pairs with a graded similarity, and BEIR folders."""
