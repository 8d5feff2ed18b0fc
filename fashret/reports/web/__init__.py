"""HTML pages that open from disk without a network: templates, style and scripts."""

from fashret.reports.web.pages import data_uri, render, vendored

__all__ = ["data_uri", "render", "vendored"]
