"""Former names of modules, which older run folders, checkpoints and catalogs still contain."""

_MODULES = {
    "fashret.data.attributes": "fashret.data.attribute_parser",
    "fashret.data.captions": "fashret.data.caption_templates",
    "fashret.data.groups": "fashret.data.product_grouping",
    "fashret.metrics.options": "fashret.evaluation.options",
    "fashret.protocols": "fashret.evaluation.benchmarks",
    "fashret.reports.targets": "fashret.evaluation.targets",
}
"""The current module of each former module with classes that a configuration may name."""


def current_target(target: str) -> str:
    """Return the current name of a `_target_`.

    Example:
        >>> current_target("fashret.reports.targets.Target")
        'fashret.evaluation.targets.Target'
    """
    module, _, name = target.rpartition(".")
    return f"{_MODULES[module]}.{name}" if module in _MODULES else target
