# SPDX-License-Identifier: Apache-2.0
"""Arms x dimensions: which embedding is best at which size, beside its rivals and null models."""
