"""The model, and a way through it for whole batches.

transformers packs the patches of all pictures into one row and attends picture by picture, in a Python loop. Here all
pictures of a batch have one size, so the same weights run as `[batch, patches, width]`; `difference` says how far both
ways are apart.
"""

import torch
import torch.nn.functional as F
from torch import nn
from transformers import Glm4vConfig, Glm4vForConditionalGeneration
from transformers.models.glm4v.modeling_glm4v import apply_rotary_pos_emb_vision
from transformers.vision_utils import get_vision_position_ids

from . import recipe

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])


def build(tok):
    """A fresh model for this tokenizer."""
    ids = tok.convert_tokens_to_ids
    config = Glm4vConfig(
        text_config=dict(
            vocab_size=len(tok),
            max_position_embeddings=recipe.CONTEXT,
            rms_norm_eps=1e-5,
            pad_token_id=ids("<|endoftext|>"),
            **recipe.TEXT,
        ),
        vision_config=dict(
            in_channels=3,
            patch_size=recipe.PATCH,
            spatial_merge_size=recipe.MERGE,
            temporal_patch_size=2,
            **recipe.VISION,
        ),
        image_token_id=ids("<|image|>"),
        video_token_id=ids("<|video|>"),
        image_start_token_id=ids("<|begin_of_image|>"),
        image_end_token_id=ids("<|end_of_image|>"),
        video_start_token_id=ids("<|begin_of_video|>"),
        video_end_token_id=ids("<|end_of_video|>"),
    )
    torch.manual_seed(recipe.SEED)
    model = Glm4vForConditionalGeneration(config)
    eos = [ids(token) for token in ("<|endoftext|>", "<|user|>", "<|observation|>")]
    model.config.text_config.eos_token_id = eos
    model.generation_config.eos_token_id = eos
    model.generation_config.pad_token_id = eos[0]
    return model


class Tower(nn.Module):
    """The vision tower of `model` for pictures of one size (pixels, height and width)."""

    def __init__(self, model, size):
        super().__init__()
        self.visual = [model.model.visual]  # a list hides it: the weights belong to the model
        self.grid = [side // recipe.PATCH for side in size]
        visual = self.visual[0]
        height, width = self.grid
        places = get_vision_position_ids(torch.tensor([[1, height, width]]), recipe.MERGE)
        cos, sin = visual.rotary_pos_emb(torch.zeros(1), places)
        self.register_buffer("cos", cos[None], persistent=False)
        self.register_buffer("sin", sin[None], persistent=False)
        self.register_buffer("interpolation", self.interpolated(places), persistent=False)

    def interpolated(self, places):
        """Weights [patches, table entries] of the bicubic interpolation of the position table."""
        side = recipe.VISION["image_size"] // recipe.PATCH
        height, width = self.grid
        at = torch.stack([(places[:, 1] + 0.5) / width * 2 - 1, (places[:, 0] + 0.5) / height * 2 - 1], -1)
        table = torch.eye(side * side).view(1, side, side, side * side).permute(0, 3, 1, 2)
        grid = at.view(1, -1, 1, 2).float()
        found = F.grid_sample(table, grid, mode="bicubic", align_corners=False, padding_mode="border")
        return found[0, :, :, 0].T

    def patches(self, pictures):
        """[batch, channels x time, height, width] to [batch, patches in blocks of 2 x 2, channels x time x 14 x 14]."""
        batch, planes = pictures.shape[:2]
        height, width = self.grid
        p, m = recipe.PATCH, recipe.MERGE
        split = pictures.reshape(batch, planes, height // m, m, p, width // m, m, p)
        return split.permute(0, 2, 5, 3, 6, 1, 4, 7).reshape(batch, height * width, planes * p * p)

    def embedded(self, pictures):
        """`pictures`: grey levels 0..255, `[batch, 2, h, w]` (a beat: grey, two times) or `[batch, 3, h, w]` (a tile: RGB,
        the same at both times). Normalisation, and what is equal in all channels or times, is folded into the weight."""
        proj = self.visual[0].patch_embed.proj
        scaled = proj.weight / STD.view(1, 3, 1, 1, 1)
        bias = proj.bias - (scaled * MEAN.view(1, 3, 1, 1, 1)).sum((1, 2, 3, 4))
        kept = scaled.sum(1) if pictures.shape[1] == 2 else scaled.sum(2)
        return F.linear(self.patches(pictures / 255), kept.flatten(1), bias)

    def forward(self, pictures):
        """Vision tokens `[batch, tokens, width]`."""
        visual = self.visual[0]
        x = visual.post_conv_layernorm(self.embedded(pictures).float())
        x = x + self.interpolation @ visual.embeddings.position_embedding.weight
        for block in visual.blocks:
            x = x + self.attention(block.attn, block.norm1(x))
            x = x + block.mlp(block.norm2(x))
        x = visual.post_layernorm(x)
        batch, _, width = x.shape
        blocks = x.reshape(-1, recipe.MERGE, recipe.MERGE, width).permute(0, 3, 1, 2)
        # A convolution whose stride is its kernel is one linear map of each block.
        x = F.linear(blocks.flatten(1), visual.downsample.weight.flatten(1), visual.downsample.bias)
        return visual.merger(x).reshape(batch, -1, x.shape[-1])

    def attention(self, attn, x):
        batch, patches, _ = x.shape
        q, k, v = attn.qkv(x).reshape(batch, patches, 3, attn.num_heads, -1).unbind(2)
        q, k = apply_rotary_pos_emb_vision(q, k, self.cos, self.sin)
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v.to(q.dtype), scale=attn.scaling)
        return attn.proj(mixed.transpose(1, 2).reshape(batch, patches, -1))


def processor_pixels(pictures):
    """The patches [patches, 1176] that the processor makes of one beat or tile of grey levels, for comparison."""
    size = pictures.shape[-2:]
    if pictures.shape[0] == 2:
        planes = pictures[None].expand(3, 2, *size)
    else:
        planes = pictures[:, None].expand(3, 2, *size)
    normal = (planes / 255 - MEAN.view(3, 1, 1, 1)) / STD.view(3, 1, 1, 1)
    height, width = (side // recipe.PATCH for side in size)
    p, m = recipe.PATCH, recipe.MERGE
    split = normal.reshape(3, 2, height // m, m, p, width // m, m, p)
    rows = split.permute(2, 5, 3, 6, 0, 1, 4, 7).reshape(height * width, -1)
    return rows, torch.tensor([[1, height, width]])


@torch.no_grad()
def difference(model, size, planes):
    """Largest difference between the tokens of [`Tower`] and those of transformers, for random pictures."""
    pictures = torch.randint(0, 256, (3, planes, *size)).float()
    ours = Tower(model, size)(pictures)
    rows = [processor_pixels(one) for one in pictures]
    grid = torch.cat([grid for _, grid in rows])
    theirs = model.model.visual(torch.cat([row for row, _ in rows]), grid_thw=grid).pooler_output
    return (ours.flatten(0, 1) - theirs).abs().max().item()
