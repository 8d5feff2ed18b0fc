"""Write the page of a prepared data set."""

from pathlib import Path

from fashret.pipelines.session import Session, SessionOptions
from fashret.pipelines.systems import System
from fashret.pipelines.training_items import find_products
from fashret.reports.overview import Overview, describe_table
from fashret.reports.viewer import NearDuplicates, Viewer


def write_view(options: SessionOptions, viewer: Viewer) -> tuple[Overview, Path]:
    """Prepare a data set, and write its page, the corrections to fill in, and its products.

    Args:
        options: the data, and the model that finds suspected duplicates.
        viewer: the options of the page.

    Returns:
        What the data hold in words, and the page's path.
    """
    session = Session.open(options)
    near_duplicates, image = None, None
    if viewer.alike is not None and len(session.table) > 1:
        image = System.untrained(session).embeddings.image.float()
        near_duplicates = NearDuplicates.find(image, session.table.products(), viewer.alike)
    find_products(session, image).write(session.output_dir, session.table)
    page = viewer.write(session.output_dir, session.table, session.source, near_duplicates)
    return Overview(describe_table(session.table)), page
