#!/usr/bin/env bash
# A threshold of similarity keeps the rows that are least alike, in LangChain's and in LlamaIndex's store on FAISS
#
# Guess: both promise a similarity, "0 is dissimilar, 1 is most similar" in LangChain's words, so that a threshold
# keeps the rows most like the query, the query's own row first. On unit rows, where all metrics rank alike, each
# keeps a beginning of the same ranking, and LangChain's strategy COSINE ranks rows of any length by cosine.
#
# What happens (langchain-community 0.4.2): under MAX_INNER_PRODUCT the inner product p is taken for a distance and
# turned into 1 - p, or into -p where it is not positive. The row itself gets 0, a row at 80 degrees .83, one at 100
# degrees .17 and the opposite row 1: a threshold of .5 drops the nearest rows and keeps those at 80, 130 and 180
# degrees. COSINE builds an index of squared Euclidean distances d and returns 1 - d: among rows of different lengths
# the nearest by cosine comes last, and for unit rows the number is 2 cosine - 1. EUCLIDEAN_DISTANCE takes the squared
# distance for the distance, so that a row at a right angle gets -.41 instead of 0.
#
# What happens (llama-index-vector-stores-faiss 0.7.0): `FaissVectorStore` is shown with FAISS' IndexFlatL2 in its own
# documentation. The squared distance is then the "similarity" of a node, and `SimilarityPostprocessor` with a cutoff
# of .5 drops the nearest rows and keeps all others. IndexFlatIP is right. Nothing is raised in either library, and
# the order of the hits is right.
#
# What follows for us: vectors of ours that go into these two are unit rows in an inner-product index, and a threshold
# is applied to FAISS' own scores. A page that names a threshold says of which score.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 faiss-cpu==1.15.1 \
    langchain-community==0.4.2 langchain-core==1.8.3 llama-index-core==0.14.25 llama-index-vector-stores-faiss==0.7.0

cd "$folder"
export LLAMA_INDEX_CACHE_DIR="$folder" NLTK_DATA="$folder" OMP_NUM_THREADS=1
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys
from importlib.metadata import version

import faiss
import numpy as np
from langchain_community.vectorstores import FAISS
from langchain_community.vectorstores.utils import DistanceStrategy
from langchain_core.embeddings import Embeddings
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.postprocessor import SimilarityPostprocessor
from llama_index.core.schema import TextNode
from llama_index.vector_stores.faiss import FaissVectorStore

packages = "faiss-cpu", "langchain-community", "langchain-core", "llama-index-core", "llama-index-vector-stores-faiss"
print(*(f"{name} {version(name)}" for name in packages))

DEGREES = 0, 20, 50, 80, 100, 130, 180
TURNED = {f"{own}": [float(np.cos(np.radians(own))), float(np.sin(np.radians(own)))] for own in DEGREES}
LENGTHS = {"0, of length 10": [10.0, 0.0], "80, of length 1": TURNED["80"]}
TABLE = TURNED | LENGTHS


class Rows(Embeddings):
    def embed_documents(self, texts):
        return [TABLE[text] for text in texts]

    def embed_query(self, text):
        return TABLE[text]


class Nodes(BaseEmbedding):
    def _get_query_embedding(self, query):
        return TABLE[query]

    _get_text_embedding = _get_query_embedding

    async def _aget_query_embedding(self, query):
        return TABLE[query]


def by_langchain(strategy):
    """Returns the relevance of each unit row to the row at 0 degrees, and which a threshold of .5 keeps."""
    store = FAISS.from_texts(list(TURNED), Rows(), distance_strategy=strategy)
    asked = {"k": len(TURNED), "score_threshold": 0.5}
    kept = store.as_retriever(search_type="similarity_score_threshold", search_kwargs=asked).invoke("0")
    scores = store.similarity_search_with_relevance_scores("0", k=len(TURNED))
    return {hit.page_content: float(score) for hit, score in scores}, [hit.page_content for hit in kept]


def by_llama_index(index):
    """Returns the score of each unit row for the row at 0 degrees, and which a cutoff of .5 keeps."""
    context = StorageContext.from_defaults(vector_store=FaissVectorStore(faiss_index=index))
    nodes = [TextNode(text=text, embedding=row) for text, row in TURNED.items()]
    asked = VectorStoreIndex(nodes, storage_context=context, embed_model=Nodes())
    found = asked.as_retriever(similarity_top_k=len(TURNED)).retrieve("0")
    kept = SimilarityPostprocessor(similarity_cutoff=0.5).postprocess_nodes(found)
    return {hit.text: float(hit.score) for hit in found}, [hit.text for hit in kept]


strategies = DistanceStrategy.EUCLIDEAN_DISTANCE, DistanceStrategy.MAX_INNER_PRODUCT, DistanceStrategy.COSINE
answers = {f"LangChain {one.name}": by_langchain(one) for one in strategies}
answers |= {f"LlamaIndex {one.__name__}": by_llama_index(one(2)) for one in (faiss.IndexFlatL2, faiss.IndexFlatIP)}
for name, (scores, kept) in answers.items():
    print(f"{name}:", {text: round(score, 2) for text, score in scores.items()}, "of .5 or more:", kept)

store = FAISS.from_texts(list(LENGTHS), Rows(), distance_strategy=DistanceStrategy.COSINE)
ranked = [hit.page_content for hit in store.similarity_search("0", k=2)]
print("LangChain COSINE, rows of two lengths asked with the row at 0 degrees:", ranked)

euclidean, product, cosine, squared, right = answers.values()
cosines = np.cos(np.radians(DEGREES))
as_stated = (
    all(list(scores) == [f"{own}" for own in DEGREES] for scores, _ in answers.values())
    and np.allclose(list(product[0].values()), np.where(cosines > 0, 1 - cosines, -cosines), atol=1e-5)
    and product[1] == ["80", "130", "180"]
    and np.allclose(list(cosine[0].values()), 2 * cosines - 1, atol=1e-5)
    and np.allclose(list(euclidean[0].values()), 1 - (2 - 2 * cosines) / 2**0.5, atol=1e-5)
    and ranked == ["80, of length 1", "0, of length 10"]
    and squared[1] == ["50", "80", "100", "130", "180"]
    and right[1] == ["0", "20", "50"]
)
print("as stated" if as_stated else "NOT as stated: this finding is out of date")
sys.exit(not as_stated)
PYTHON

# Output:
#   faiss-cpu 1.15.1 langchain-community 0.4.2 langchain-core 1.8.3 llama-index-core 0.14.25 llama-index-vector-stores-faiss 0.7.0
#   LangChain EUCLIDEAN_DISTANCE: {'0': 1.0, '20': 0.91, '50': 0.49, '80': -0.17, '100': -0.66, '130': -1.32, '180': -1.83} of .5 or more: ['0', '20']
#   LangChain MAX_INNER_PRODUCT: {'0': 0.0, '20': 0.06, '50': 0.36, '80': 0.83, '100': 0.17, '130': 0.64, '180': 1.0} of .5 or more: ['80', '130', '180']
#   LangChain COSINE: {'0': 1.0, '20': 0.88, '50': 0.29, '80': -0.65, '100': -1.35, '130': -2.29, '180': -3.0} of .5 or more: ['0', '20']
#   LlamaIndex IndexFlatL2: {'0': 0.0, '20': 0.12, '50': 0.71, '80': 1.65, '100': 2.35, '130': 3.29, '180': 4.0} of .5 or more: ['50', '80', '100', '130', '180']
#   LlamaIndex IndexFlatIP: {'0': 1.0, '20': 0.94, '50': 0.64, '80': 0.17, '100': -0.17, '130': -0.64, '180': -1.0} of .5 or more: ['0', '20', '50']
#   LangChain COSINE, rows of two lengths asked with the row at 0 degrees: ['80, of length 1', '0, of length 10']
#   as stated
