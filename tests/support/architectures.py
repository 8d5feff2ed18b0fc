"""Small stand-ins for every family of towers that the model group names."""

from typing import Any

from fashret.models.spec import ModelSpec

TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
VIT = {"image_size": 32, "patch_size": 16, "width": 48, "layers": 2, "head_width": 24}

FAMILIES: dict[str, dict[str, Any]] = {
    # CLIP's ViT: plain matrices on both sides (vitb32, vitb16, vitl14)
    "vit": {"embed_dim": 24, "vision_cfg": VIT, "text_cfg": TEXT},
    # SigLIP: attention pooling ends the image tower, the text projection has a bias
    # (siglip_b16, siglip2_b16, fashion_siglip)
    "sigmoid": {
        "embed_dim": 64,
        "custom_text": True,
        "init_logit_bias": -10,
        "vision_cfg": {
            "image_size": 160,
            "timm_model_name": "test_vit",
            "timm_pool": "map",
            "timm_proj": "none",
        },
        "text_cfg": TEXT | {"no_causal_mask": True, "proj_bias": True, "pool_type": "last"},
    },
    # a timm trunk with a linear head on it
    "convnext": {
        "embed_dim": 24,
        "vision_cfg": {
            "image_size": 32,
            "timm_model_name": "test_convnext",
            "timm_pool": "avg",
            "timm_proj": "linear",
        },
        "text_cfg": TEXT,
    },
    # a timm trunk whose own classifier is the projection
    "mobilenet": {
        "embed_dim": 24,
        "custom_text": True,
        "vision_cfg": {
            "image_size": 32,
            "timm_model_name": "mobilenetv3_small_050",
            "timm_pool": "avg",
            "timm_proj": "",
        },
        "text_cfg": TEXT,
    },
    # a ResNet, whose projection ends its attention pool (tiny)
    "resnet": {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
        "text_cfg": TEXT,
    },
    # CoCa: towers that also give tokens
    "coca": {
        "embed_dim": 24,
        "vision_cfg": VIT
        | {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
        "text_cfg": TEXT | {"embed_cls": True, "output_tokens": True},
        "multimodal_cfg": TEXT | {"width": 24, "attn_pooler_heads": 2},
        "custom_text": True,
    },
}


def spec(name: str, **changes: Any) -> ModelSpec:
    """A small model with random weights."""
    options: dict[str, Any] = {
        "pretrained": None, "train": "all", "train_blocks": 1, "heads": True,
        "resize": "longest", "fill": 255, "seed": 3,
    }  # fmt: skip
    return ModelSpec(name=name, **options | changes)
