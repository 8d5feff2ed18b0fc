"""Tasks: what is asked, what is searched and what is relevant, to train for and to evaluate by."""

from fashret.tasks.attribute import AttributeTask
from fashret.tasks.caption import CaptionTask
from fashret.tasks.composed import ComposedTask
from fashret.tasks.product import ProductTask
from fashret.tasks.search_log import SearchLogTask
from fashret.tasks.street import StreetTask

__all__ = [
    "AttributeTask",
    "CaptionTask",
    "ComposedTask",
    "ProductTask",
    "SearchLogTask",
    "StreetTask",
]
