"""Prepare the search of the demo page."""

import torch

from fashret.catalog.candidates import candidate_source
from fashret.demo.search import IndexedModel, Search
from fashret.functional.imputation import impute_texts
from fashret.pipelines.evaluate import EvaluateOptions, evaluated_system
from fashret.pipelines.systems import System


def demo_search(options: EvaluateOptions, *, results: int) -> Search:
    """Embed the items of a split with a model and its baseline, to search them side by side.

    Args:
        options: the model, the baseline, and the split (None for all items).
        results: the number of hits per query.
    """
    system = evaluated_system(options)
    session, systems = system.session, [system]
    if options.baseline is not None:
        systems.append(System.named(session, options.baseline))
    elif system.state is not None:
        systems.append(System.untrained(session))
    rows = session.rows(options.split)
    row_idx = torch.from_numpy(rows)
    models = []
    for each in systems:
        stored, layout = each.embeddings, each.towers.layout
        image, text = (
            part[row_idx].float().to(session.device) for part in (stored.image, stored.text)
        )
        text = impute_texts(image, text, layout)
        source = candidate_source(stored)
        models.append(IndexedModel(each.name, each.towers, image, text, source))
    by_product = session.options.retrieval.by == "product"
    return Search(models, session.table, session.codes, rows, results, by_product)
