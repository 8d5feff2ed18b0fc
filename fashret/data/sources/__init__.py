"""Data sources, one format per file."""

from fashret.data.sources.deepfashion_attributes import DeepFashionAttributes
from fashret.data.sources.deepfashion_consumer2shop import DeepFashionConsumer2Shop
from fashret.data.sources.deepfashion_inshop import DeepFashionInshop
from fashret.data.sources.deepfashion_multimodal import DeepFashionMultiModal
from fashret.data.sources.fashion200k import Fashion200k
from fashret.data.sources.fashion_products import FashionProducts
from fashret.data.sources.fashioniq import FashionIQ
from fashret.data.sources.feed import Feed
from fashret.data.sources.folder import Folder
from fashret.data.sources.hm import HM
from fashret.data.sources.hub import Hub
from fashret.data.sources.joined import Joined
from fashret.data.sources.polyvore import Polyvore
from fashret.data.sources.sample import Sample

__all__ = [
    "HM",
    "DeepFashionAttributes",
    "DeepFashionConsumer2Shop",
    "DeepFashionInshop",
    "DeepFashionMultiModal",
    "Fashion200k",
    "FashionIQ",
    "FashionProducts",
    "Feed",
    "Folder",
    "Hub",
    "Joined",
    "Polyvore",
    "Sample",
]
