# SPDX-License-Identifier: Apache-2.0
"""Log a run to Weights & Biases, and figures and tables to any logger."""
