"""Write the grouping of photos into products that training uses, for an audit."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor

from fashret.data.items import ItemTable
from fashret.reports.atomic_write import write_text
from fashret.types import UNKNOWN

_AUDITED = 50
"""The number of products in the audit table."""


def write_groups(
    folder: Path, table: ItemTable, product: Tensor, confidence: Tensor, leaving: Tensor
) -> None:
    """Write groups.json (products with several photos) and groups_audit.csv (the least certain).

    Args:
        folder: the folder to write to.
        table: the N items.
        product: (N,) long code of the product, UNKNOWN for none.
        confidence: (N,) float confidence of the code, 0 to 1.
        leaving: rows dropped from training, since their product also occurs in another split.
    """
    ids, titles = table.column("item_id"), table.column("text")
    known = np.flatnonzero(product.numpy() != UNKNOWN)
    ordered = known[np.argsort(product.numpy()[known], kind="stable")]
    starts = np.flatnonzero(np.diff(product.numpy()[ordered])) + 1
    products = np.split(ordered, starts) if len(ordered) else []
    sizes = Counter(map(len, products))
    groups = [
        {"confidence": round(float(confidence[rows].min()), 4), "rows": rows.tolist()}
        for rows in products
        if len(rows) > 1
    ]
    report = {
        "items": len(table),
        "without_product": len(table) - len(known),
        "products_by_size": {str(size): sizes[size] for size in sorted(sizes)},
        "leaving_training": [ids[row] for row in leaving.tolist()],
        "groups": [
            {"confidence": g["confidence"], "items": [ids[row] for row in g["rows"]]}
            for g in groups
        ],
    }
    write_text(folder / "groups.json", json.dumps(report, indent=1) + "\n")
    shuffled = np.random.default_rng(0).permutation(len(groups))
    audited = sorted(shuffled.tolist(), key=lambda i: groups[i]["confidence"])[:_AUDITED]
    rows = [
        (number, groups[i]["confidence"], len(groups[i]["rows"]), ids[row], titles[row])
        for number, i in enumerate(audited, start=1)
        for row in groups[i]["rows"]
    ]
    audit = pd.DataFrame(rows, columns=["group", "confidence", "photos", "item_id", "text"])
    write_text(folder / "groups_audit.csv", audit.to_csv(index=False))
