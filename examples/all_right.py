"""A metric of your own: one function."""

from torch import Tensor


def all_right(hits: Tensor, num_relevant: Tensor, k: int) -> Tensor:
    """Tell for each query whether all of the first k are relevant.

    Args:
        hits: (Q, K) bool, best first, K >= k.
        num_relevant: (Q,) long: relevant items in what was ranked.
        k: the cut-off.

    Returns:
        (Q,) float64: 1 where they are, or where all relevant items there are come first.
    """
    wanted = num_relevant.clamp(max=k)
    return (hits[:, :k].sum(dim=1) >= wanted).double()
