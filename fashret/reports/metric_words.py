"""Describe metric names in words. Light to import."""

_QUERIES = {
    "image": "photo",
    "text": "text",
    "fused": "photo + text",
    "composed": "photo + words",
}


def in_words(name: str) -> str:
    """Describe a metric name in words; any other text is returned unchanged.

    Args:
        name: a metric key without its split.

    Example:
        >>> in_words("image/neckline/precision@10")
        'photo -> same neckline, precision@10'
        >>> in_words("fused/category/precision@10[cardigans]")
        'photo + text -> same category: cardigans, precision@10'
        >>> in_words("image/material/precision@10[macro]")
        'photo -> same material: mean over values, precision@10'
        >>> in_words("text/pair/hit@10")
        'text -> its own photo, hit@10'
        >>> in_words("text/judged/ndcg@10[tail]")
        'typed text -> judged items: tail, ndcg@10'
    """
    parts = name.split("/", 2)
    if len(parts) < 3 or parts[0] not in _QUERIES:
        return name
    query, relevance, rest = parts
    metric, _, value = rest.partition("[")
    asked = "typed text" if (query, relevance) == ("text", "judged") else _QUERIES[query]
    relevant = {"pair": "its own photo", "judged": "judged items"}.get(
        relevance, f"same {relevance}"
    )
    if value:
        value = value.removesuffix("]")
        relevant += f": {'mean over values' if value == 'macro' else value}"
    return f"{asked} -> {relevant}, {metric}"
