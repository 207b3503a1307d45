"""Arithmetic and bytes of the model, from its config.json: what a study must cost, and what a card could do at best.

`python3 roofline.py` prints the costs of the published model; they are checked against its known sizes on every import.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Card:
    """The best that was measured on the card, not what its data sheet says."""

    flops: float  # bf16 matrix products, per second
    bytes_per_s: float  # copies, read and written


# One 8192 × 8192 × 8192 product and one copy of 8.6 GB through PyTorch 2.11 on an H200.
H200 = Card(flops=788e12, bytes_per_s=4.3e12)


@dataclass(frozen=True)
class Costs:
    """Per unit; multiply and add count as two."""

    text_flops: float  # a token through all layers, attention's products apart
    text_attention_flops: float  # a token and a key that it sees
    head_flops: float  # a token whose scores are wanted
    patch_flops: float  # a patch through the vision tower, attention's products apart
    patch_attention_flops: float  # a patch and a patch of the same picture
    merger_flops: float  # a vision token
    step_bytes: float  # weights that a step of the language model reads, in bf16
    kv_bytes: float  # keys and values of a token, in bf16
    weights: int  # of the whole model

    @classmethod
    def of(cls, config):
        text, vision = config["text_config"], config["vision_config"]
        hidden, layers = text["hidden_size"], text["num_hidden_layers"]
        head_dim = text.get("head_dim") or hidden // text["num_attention_heads"]
        queries, keys = text["num_attention_heads"] * head_dim, text["num_key_value_heads"] * head_dim
        layer = 2 * hidden * queries + 2 * hidden * keys + 3 * hidden * text["intermediate_size"]
        head = hidden * text["vocab_size"]
        width, depth, out = vision["hidden_size"], vision["depth"], vision["out_hidden_size"]
        block = 4 * width * width + 3 * width * out
        patch = vision["in_channels"] * vision["temporal_patch_size"] * vision["patch_size"] ** 2 * width
        per_token = vision["spatial_merge_size"] ** 2
        merger = per_token * width * out + out * out + 3 * out * vision["intermediate_size"]
        positions = (vision["image_size"] // vision["patch_size"]) ** 2 * width
        norms = layers * (4 * hidden + queries + 2 * keys) + hidden
        tied = config.get("tie_word_embeddings", text.get("tie_word_embeddings", False))
        return cls(
            text_flops=2 * layers * layer,
            text_attention_flops=4 * layers * queries,
            head_flops=2 * head,
            patch_flops=2 * (patch + depth * block),
            patch_attention_flops=4 * depth * width,
            merger_flops=2 * merger,
            step_bytes=2 * (layers * layer + norms + head),
            kv_bytes=2 * 2 * layers * keys,
            weights=layers * layer + norms + head * (1 if tied else 2) + patch + depth * block + merger + positions,
        )

    def prefill_flops(self, pictures, patches, tokens, cached):
        """One prompt of so many tokens of which some are cached, with so many pictures of so many patches each."""
        fresh = tokens - cached
        seen = (tokens * (tokens + 1) - cached * (cached + 1)) / 2
        vision = pictures * patches * (self.patch_flops + self.patch_attention_flops * patches + self.merger_flops / 4)
        return vision + fresh * self.text_flops + seen * self.text_attention_flops + self.head_flops

    def decode_flops(self, tokens, new):
        """The tokens after the first; the first comes out of the prompt."""
        steps = new - 1
        seen = steps * tokens + steps * (steps + 1) / 2
        return steps * (self.text_flops + self.head_flops) + seen * self.text_attention_flops

    def decode_bytes(self, sequences, tokens):
        """One step of so many sequences of so many tokens."""
        return self.step_bytes + sequences * tokens * self.kv_bytes


# GLM-4.6V-Flash, as its cards and converted files tell it; its own config.json has not been seen.
FLASH = {
    "text_config": {
        "hidden_size": 4096,
        "num_hidden_layers": 40,
        "num_attention_heads": 32,
        "num_key_value_heads": 2,
        "head_dim": 128,
        "intermediate_size": 13696,
        "vocab_size": 151552,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
    },
    "vision_config": {
        "hidden_size": 1536,
        "depth": 24,
        "num_heads": 12,
        "intermediate_size": 13696,
        "out_hidden_size": 4096,
        "image_size": 336,
        "patch_size": 14,
        "in_channels": 3,
        "temporal_patch_size": 2,
        "spatial_merge_size": 2,
        "attention_bias": False,
    },
    "tie_word_embeddings": False,
}

_costs = Costs.of(FLASH)
assert abs(_costs.weights / 10.29e9 - 1) < 0.002, _costs.weights
assert abs(_costs.step_bytes / 17.6e9 - 1) < 0.01, _costs.step_bytes
assert _costs.kv_bytes == 40 * 1024, _costs.kv_bytes


if __name__ == "__main__":
    print(f"weights {_costs.weights / 1e9:.2f} G, {2 * _costs.weights / 1e9:.1f} GB in bf16")
    print(f"text token {_costs.text_flops / 1e9:.1f} GFLOP + {_costs.text_attention_flops / 1e6:.2f} MFLOP a key")
    print(f"patch {_costs.patch_flops / 1e9:.2f} GFLOP + {_costs.patch_attention_flops / 1e6:.3f} MFLOP a patch")
    print(f"vision token {_costs.merger_flops / 1e9:.2f} GFLOP in the merger")
    for pictures, tokens in [(8, 128), (8, 256), (16, 256), (4, 1024)]:
        prompt = 600 + pictures * tokens
        flops = _costs.prefill_flops(pictures, 4 * tokens, prompt, 400) + _costs.decode_flops(prompt, 150)
        print(f"{pictures} x {tokens}: {flops / 1e12:.0f} TFLOP a study, {0.5 * H200.flops / flops:.1f}/s at half of the card")
