"""The folder that transformers and our engine load."""

import json
import shutil

import torch
from transformers import Glm46VProcessor
from transformers.models.glm46v.image_processing_pil_glm46v import Glm46VImageProcessorPil
from transformers.models.glm46v.video_processing_glm46v import Glm46VVideoProcessor

from . import model, recipe, wording

# What the pipeline reads of a checkpoint's nature: see DESIGN, "demo checkpoints".
MARKS = {"synthetic_only": True, "untrained": False, "presentation": "beats"}


def processor(tok):
    return Glm46VProcessor(
        image_processor=Glm46VImageProcessorPil(size=recipe.IMAGE_PIXELS),
        tokenizer=tok,
        video_processor=Glm46VVideoProcessor(size=recipe.VIDEO_PIXELS),
        chat_template=recipe.CHAT_TEMPLATE.read_text(),
    )


def export(weights, folder):
    """Writes the checkpoint whole or not at all; keeps the model card."""
    tok = wording.tokenizer()
    built = model.build(tok)
    built.load_state_dict(torch.load(weights, weights_only=True)["model"])
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    built.to(torch.float16).save_pretrained(partial)
    processor(tok).save_pretrained(partial)
    config = json.loads((partial / "config.json").read_text()) | {"prescreen": MARKS}
    (partial / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    tokens = json.loads((partial / "tokenizer.json").read_text())
    (partial / "tokenizer.json").write_text(json.dumps(tokens, ensure_ascii=False, separators=(",", ":")) + "\n")
    (partial / "model.safetensors").chmod(0o644)
    card = folder / "MODEL_CARD.md"
    if card.exists():
        shutil.copy(card, partial / card.name)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
