#!/usr/bin/env bash
# What trec_eval makes of scores that are nearly equal, and of queries without an answer
#
# Guess: pytrec_eval ranks documents by the float64 scores that it is given, equal ones in the order given; a query
# whose documents are all judged irrelevant is left out, since no ranking is better than another.
#
# What happens (pytrec-eval-terrier 0.5.11, which is trec_eval 9 inside):
# - Scores are rounded to float32 first. Near-duplicates, whose cosines differ by less than 3e-8, are ties.
# - Equal scores are ranked by the document's *name*, descending as text: "9" before "10", and the last document of a
#   numbered corpus first. The relevant one of three has reciprocal rank 1/3 or 1 by its name alone.
# - A query without a relevant document gets 0 for each measure and so lowers the mean.
#
# What follows for us: rows are ranked in float64 and equal ones by their place or id; queries without a relevant row
# have no value and are left out. Tests against trec_eval name documents so that its order of ties is ours, and
# compare the other queries only.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 pytrec-eval-terrier==0.5.11

"$folder/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import pytrec_eval

print(*(f"{name} {version(name)}" for name in ("numpy", "pytrec-eval-terrier")))


def reciprocal_rank(scores, relevant):
    evaluator = pytrec_eval.RelevanceEvaluator({"q": {relevant: 1}}, {"recip_rank"})
    return round(evaluator.evaluate({"q": scores})["q"]["recip_rank"], 3)


close = {"a": 0.9 + 2e-9, "b": 0.9 + 1e-9, "c": 0.9}
apart = {"a": 0.9 + 2e-6, "b": 0.9 + 1e-6, "c": 0.9}
rounded, whole = reciprocal_rank(close, "a"), reciprocal_rank(apart, "a")
print(f"the best document of three: 1e-6 apart {whole}, 1e-9 apart {rounded}")

tie = {"9": 1.0, "10": 1.0, "11": 1.0}
by_name = {name: reciprocal_rank(tie, name) for name in tie}
print("three equal scores, in the order given:", by_name)

evaluator = pytrec_eval.RelevanceEvaluator({"q": {"a": 0}, "r": {"a": 1}}, {"recip_rank"})
values = {query: found["recip_rank"] for query, found in evaluator.evaluate({"q": {"a": 1.0}, "r": {"a": 1.0}}).items()}
print("a query without a relevant document, and one that is answered:", values)

as_stated = (
    (whole, rounded) == (1.0, 0.333)
    and by_name == {"9": 1.0, "10": 0.333, "11": 0.5}
    and values == {"q": 0.0, "r": 1.0}
)
print("as stated" if as_stated else "NOT as stated: this finding is out of date")
sys.exit(not as_stated)
PYTHON

# Output:
#   numpy 2.4.6 pytrec-eval-terrier 0.5.11
#   the best document of three: 1e-6 apart 1.0, 1e-9 apart 0.333
#   three equal scores, in the order given: {'9': 1.0, '10': 0.333, '11': 0.5}
#   a query without a relevant document, and one that is answered: {'q': 0.0, 'r': 1.0}
#   as stated
