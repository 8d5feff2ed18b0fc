"""The protocols that the field's sets are judged by, one a file."""

from fashret.protocols.attribute_specific import AttributeSpecific
from fashret.protocols.fashioniq import FashionIQ
from fashret.protocols.keyword import Keyword
from fashret.protocols.lookbench import LookBench
from fashret.protocols.marqo import Marqo
from fashret.protocols.paired import Paired
from fashret.protocols.query_to_gallery import QueryToGallery

__all__ = [
    "AttributeSpecific",
    "FashionIQ",
    "Keyword",
    "LookBench",
    "Marqo",
    "Paired",
    "QueryToGallery",
]
