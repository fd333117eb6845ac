# SPDX-License-Identifier: Apache-2.0
"""The arithmetic of the metrics and of training: pure, typed functions on tensors."""
