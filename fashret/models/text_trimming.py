"""Encoding of texts that are shorter than a tower's context, without their padding."""

from types import MethodType
from typing import Any

from open_clip.coca_model import CoCa
from open_clip.model import CLIP, CustomTextCLIP
from open_clip.transformer import TextTransformer
from torch import Tensor, nn


def is_causal(clip: Any) -> bool:
    """Return whether a text tower is causal: a text's feature does not depend on its padding.

    A text's feature is that of its end token, and no token attends to later ones. Only for
    open_clip's own classes: a subclass may compute something else.

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
    """Encode texts with a model that `is_causal`; several threads may call it at once.

    open_clip's own code runs, with a shorter attention mask and fewer positions in place of the
    model's. The model itself is not changed: `torch.func.functional_call` would swap its buffers
    while another thread computes with them.

    Args:
        clip: an open_clip model.
        tokens: (B, L) long tokens, L at most the context length.

    Returns:
        (B, G) float features, not normalised.
    """
    length = tokens.shape[1]
    if isinstance(clip, CLIP):
        shorter = _WithAttributes(
            clip,
            attn_mask=clip.attn_mask[:length, :length],
            positional_embedding=clip.positional_embedding[:length],
        )
    else:
        mask = clip.text.attn_mask[:length, :length]
        shorter = _WithAttributes(clip, text=_WithAttributes(clip.text, attn_mask=mask))
    features: Tensor = shorter.encode_text(tokens, normalize=False)
    return features


class _WithAttributes:
    """A view of a module with other values for some attributes; the module does not change.

    The methods of the module's class run with these values; forward hooks of the module do not
    run, those of its submodules do.

    Args:
        module: the module, whose methods and other attributes are used.
        values: replacing values by attribute name.
    """

    def __init__(self, module: nn.Module, **values: Any) -> None:
        vars(self).update(values, _module=module)

    def __call__(self, *args: Any) -> Any:
        return self.forward(*args)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._module, name)
        if getattr(value, "__self__", None) is self._module:  # a method: bind it to this view
            return MethodType(value.__func__, self)
        return value
