"""Catalogs of the smallest model."""

from pathlib import Path
from typing import Any

from fashret.catalog.build import ensure_catalog
from fashret.catalog.folder import Catalog
from fashret.data.items import ItemTable
from fashret.models.backbone import load_backbone
from fashret.models.retriever import Retriever
from fashret.models.spec import ModelSpec

SPEC = ModelSpec(
    name="fashret-tiny", pretrained=None, train="heads", train_blocks=1, heads=True,
    resize="longest", fill=255, seed=0,
)  # fmt: skip


def build(table: ItemTable, cache: Path, **options: Any) -> Catalog:
    identity = options.pop("identity", SPEC.identity(cache))
    load = options.pop("load", lambda: Retriever.from_backbone(load_backbone(SPEC, cache)))
    return ensure_catalog(table, identity, load, cache, label="tiny", **options)
