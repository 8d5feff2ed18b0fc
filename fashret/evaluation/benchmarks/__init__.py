"""Published benchmarks, one per file: queries, gallery, ground truth and metrics of each."""

from fashret.evaluation.benchmarks.attribute_specific import AttributeSpecific
from fashret.evaluation.benchmarks.fashioniq import FashionIQ
from fashret.evaluation.benchmarks.keyword import Keyword
from fashret.evaluation.benchmarks.lookbench import LookBench
from fashret.evaluation.benchmarks.marqo import Marqo
from fashret.evaluation.benchmarks.paired import Paired
from fashret.evaluation.benchmarks.query_to_gallery import QueryToGallery
from fashret.evaluation.benchmarks.search_log import SearchLog

__all__ = [
    "AttributeSpecific",
    "FashionIQ",
    "Keyword",
    "LookBench",
    "Marqo",
    "Paired",
    "QueryToGallery",
    "SearchLog",
]
