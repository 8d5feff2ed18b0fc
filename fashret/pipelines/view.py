"""Show a prepared set on a page."""

from pathlib import Path

from fashret.pipelines.session import Session, SessionOptions
from fashret.pipelines.systems import System
from fashret.reports.viewer import Lookalikes, Viewer


def write_view(options: SessionOptions, viewer: Viewer) -> Path:
    """Prepare the data, and write a page of it.

    Args:
        options: the data, and the model that finds suspected duplicates.
        viewer: makes the page.

    Returns:
        The page's path.
    """
    session = Session.open(options)
    lookalikes = None
    if viewer.alike is not None and len(session.table) > 1:
        image = System.untrained(session).embeddings.image.float()
        lookalikes = Lookalikes.among(image, session.table.products(), viewer.alike)
    return viewer.write(session.output_dir, session.table, session.source, lookalikes)
