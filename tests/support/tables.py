"""Tables of a shop of twelve photos."""

from collections.abc import Callable

from fashret.data.items import ItemTable

Shop = Callable[..., ItemTable]


def lines(header: str, row: str, number: int = 12) -> str:
    return "\n".join([header, *(row.format(i=i) for i in range(number))]) + "\n"
