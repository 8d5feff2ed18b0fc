"""Encoding texts that are shorter than a tower's context, without the padding behind them."""

from types import MethodType
from typing import Any

from open_clip.coca_model import CoCa
from open_clip.model import CLIP, CustomTextCLIP
from open_clip.transformer import TextTransformer
from torch import Tensor, nn


def is_causal(clip: Any) -> bool:
    """Whether a text's feature is its end token's, and no token sees what follows it.

    Only open_clip's own classes are known to be so: a subclass may compute something else.

    Args:
        clip: an open_clip model.
    """
    if type(clip) is CLIP:
        return clip.text_pool_type == "argmax" and clip.attn_mask is not None
    tower: Any = getattr(clip, "text", None)
    return (
        type(clip) in (CustomTextCLIP, CoCa)
        and type(tower) is TextTransformer
        and tower.pool_type == "argmax"
        and tower.attn_mask is not None
        and tower.cls_emb is None
        and not tower.use_pad_mask
    )


def encode_short(clip: Any, tokens: Tensor) -> Tensor:
    """The features of texts by a model that `is_causal`; several threads may call it at once.

    open_clip's own code runs, with a shorter attention mask and fewer positions in place of the
    model's. The model itself is not changed: `torch.func.functional_call` would swap its buffers
    while another thread computes with them.

    Args:
        clip: an open_clip model.
        tokens: (B, L) long, of at most the context's length.

    Returns:
        (B, G) features, not normalised.
    """
    length = tokens.shape[1]
    if isinstance(clip, CLIP):
        shorter = _Replaced(
            clip,
            attn_mask=clip.attn_mask[:length, :length],
            positional_embedding=clip.positional_embedding[:length],
        )
    else:
        mask = clip.text.attn_mask[:length, :length]
        shorter = _Replaced(clip, text=_Replaced(clip.text, attn_mask=mask))
    features: Tensor = shorter.encode_text(tokens, normalize=False)
    return features


class _Replaced:
    """A module whose methods see other values for some attributes; the module does not change.

    Its class's own methods run; its forward hooks do not, those of its submodules do.

    Args:
        module: whose methods and other attributes are used.
        values: by attribute name, what the methods see in place of the module's own.
    """

    def __init__(self, module: nn.Module, **values: Any) -> None:
        vars(self).update(values, _module=module)

    def __call__(self, *args: Any) -> Any:
        return self.forward(*args)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._module, name)
        if getattr(value, "__self__", None) is self._module:  # a method, which is given this object
            return MethodType(value.__func__, self)
        return value
