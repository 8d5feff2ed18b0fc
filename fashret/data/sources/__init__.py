"""Where items come from, one format a file."""

from fashret.data.sources.fashion_products import FashionProducts
from fashret.data.sources.folder import Folder
from fashret.data.sources.hub import Hub
from fashret.data.sources.joined import Joined
from fashret.data.sources.sample import Sample

__all__ = ["FashionProducts", "Folder", "Hub", "Joined", "Sample"]
