"""What the search page serves."""

import torch

from fashret.demo.search import IndexedModel, Search
from fashret.functional.imputation import impute_texts
from fashret.pipelines.evaluate import EvaluateOptions, evaluated_system
from fashret.pipelines.systems import System


def search_of(options: EvaluateOptions, *, results: int) -> Search:
    """Open a model, and what it is shown beside, over the items of a split.

    Args:
        options: the model, the baseline and the split; None for all items.
        results: photos for a query.
    """
    system = evaluated_system(options)
    session, systems = system.session, [system]
    if options.baseline is not None:
        systems.append(System.named(session, options.baseline))
    elif system.state is not None:
        systems.append(System.untrained(session))
    rows = session.rows(options.split)
    here = torch.from_numpy(rows)
    models = []
    for each in systems:
        stored, layout = each.embeddings, each.towers.layout
        image, text = (
            part[here].float().to(session.device) for part in (stored.image, stored.text)
        )
        text = impute_texts(image, text, layout)
        models.append(IndexedModel(each.name, each.towers, image, text))
    return Search(models, session.table, session.codes, rows, results)
