"""Names of the first edition, which run folders, checkpoints and catalogs may still hold."""

_MODULES = {
    "fashret.data.attributes": "fashret.data.attribute_parser",
    "fashret.data.captions": "fashret.data.caption_templates",
    "fashret.data.groups": "fashret.data.product_grouping",
    "fashret.metrics.options": "fashret.evaluation.options",
    "fashret.protocols": "fashret.evaluation.benchmarks",
    "fashret.reports.targets": "fashret.evaluation.targets",
}
"""Modules of classes that a configuration may name, before and now."""


def current_target(target: str) -> str:
    """Return today's name of a `_target_`.

    Example:
        >>> current_target("fashret.reports.targets.Target")
        'fashret.evaluation.targets.Target'
    """
    module, _, name = target.rpartition(".")
    return f"{_MODULES[module]}.{name}" if module in _MODULES else target
