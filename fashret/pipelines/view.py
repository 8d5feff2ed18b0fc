"""Write the page of a prepared data set."""

from pathlib import Path

from fashret.pipelines.session import Session, SessionOptions
from fashret.pipelines.systems import System
from fashret.reports.viewer import NearDuplicates, Viewer


def write_view(options: SessionOptions, viewer: Viewer) -> Path:
    """Prepare a data set, and write its page.

    Args:
        options: the data, and the model that finds suspected duplicates.
        viewer: the options of the page.

    Returns:
        The page's path.
    """
    session = Session.open(options)
    near_duplicates = None
    if viewer.alike is not None and len(session.table) > 1:
        image = System.untrained(session).embeddings.image.float()
        near_duplicates = NearDuplicates.find(image, session.table.products(), viewer.alike)
    return viewer.write(session.output_dir, session.table, session.source, near_duplicates)
