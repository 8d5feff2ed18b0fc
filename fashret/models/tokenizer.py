"""Loading of a model's tokenizer, without running code from a bundle."""

import json
from typing import Any

import open_clip
from open_clip.factory import _get_hf_config

from fashret.models.spec import VOCABULARY, ModelSpec


def open_tokenizer(spec: ModelSpec, weights_dir: str) -> Any:
    """Open the open_clip tokenizer that belongs to a model.

    A bundle (`local-dir:`, `hf-hub:`) may request a tokenizer that is Python code within the
    bundle, by `tokenizer_kwargs: {trust_remote_code: true}`; such code is never run.

    Args:
        spec: the model.
        weights_dir: folder for downloaded files.
    """
    options: dict[str, Any] = {}
    vocabulary = None if spec.folder is None else spec.folder / VOCABULARY
    if vocabulary is not None and vocabulary.is_file():
        options["bpe_path"] = str(vocabulary)
    if spec.carries_weights and _uses_transformers(spec, weights_dir):
        options["trust_remote_code"] = False  # takes precedence over the bundle's own value
    name = f"local-dir:{spec.shipped_bundle}" if spec.shipped_bundle else spec.name
    return open_clip.get_tokenizer(name, cache_dir=weights_dir, **options)


def _uses_transformers(spec: ModelSpec, weights_dir: str) -> bool:
    """Return whether a bundle's tokenizer is one of transformers."""
    if spec.folder is not None:
        config = json.loads((spec.folder / "open_clip_config.json").read_text())
    else:
        try:
            config = _get_hf_config(spec.name.removeprefix("hf-hub:"), cache_dir=weights_dir)
        except Exception:  # open_clip then treats the repository as one of transformers
            return True
    model = config.get("model_cfg")
    return not model or bool(model.get("text_cfg", {}).get("hf_tokenizer_name"))
