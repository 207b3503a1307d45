"""The other side of `prescreen bench engine`: the same model by transformers, in float32, one thread.

Started by the bench, one JSON object a line in and out. First comes the model and what to ask it:

    {"checkpoint": DIR, "tokens_of": DIR, "seed": N, "questions": [{"system": ..., "pictures": [PNG ...], "text": ...} ...]}
        ->  {"packages": {...}, "parameters": N, "input_ids": [[...] ...]}

Where DIR does not hold the checkpoint it is made: the shape below, random weights from the seed, rounded to float16 in the
file (both sides compute from these in float32), tokenizer and processor as in `tokens_of`. Then

    {"batch": [INDEX ...], "tokens": N}  ->  {"prefill": S, "decode": S, "ids": [[...] ...]}

answers some of the questions at once: processor seconds of this process until the first token is there (vision tower and
prefill), and for each further step. Imports, reading, preprocessing and a first run are not counted.
"""

import json
import os
import shutil
import sys
import time
from pathlib import Path

for variable in ("OMP", "OPENBLAS", "MKL"):
    os.environ[f"{variable}_NUM_THREADS"] = "1"

NEEDED = {"torch": "torch==2.11.0", "torchvision": "torchvision==0.26.0", "transformers": "transformers==5.23.0", "PIL": "pillow<13"}
missing = []
for module, package in NEEDED.items():
    try:
        __import__(module)
    except ImportError:
        missing.append(package)
if missing:
    sys.exit(f"bench engine: {sys.executable} lacks {', '.join(missing)}; name another with --python, or install them there")

import torch
import torchvision
import transformers
from PIL import Image
from transformers import (
    AutoProcessor,
    Glm4vConfig,
    Glm4vForConditionalGeneration,
    LogitsProcessor,
    LogitsProcessorList,
)

torch.set_num_threads(1)
torch.set_num_interop_threads(1)
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

TEXT = dict(
    vocab_size=32000, hidden_size=768, num_hidden_layers=12, num_attention_heads=12, num_key_value_heads=2,
    intermediate_size=2560, max_position_embeddings=16384, rms_norm_eps=1e-5,
    rope_parameters=dict(rope_type="default", rope_theta=5e5, partial_rotary_factor=0.5, mrope_section=[4, 6, 6]),
)  # fmt: skip
VISION = dict(
    hidden_size=384, depth=6, num_heads=6, intermediate_size=2560, out_hidden_size=768, image_size=336, patch_size=14,
    in_channels=3, spatial_merge_size=2, temporal_patch_size=2,
)  # fmt: skip
KEPT = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json", "processor_config.json")
TOKENS = ("image_token_id", "video_token_id", "image_start_token_id", "image_end_token_id", "video_start_token_id",
          "video_end_token_id")  # fmt: skip


def make(folder, tokens_of, seed):
    ids = json.loads((tokens_of / "config.json").read_text())
    ends = json.loads((tokens_of / "generation_config.json").read_text())["eos_token_id"]
    config = Glm4vConfig(text_config=TEXT, vision_config=VISION, **{key: ids[key] for key in TOKENS})
    config.text_config.eos_token_id = ends
    with torch.device("meta"):
        model = Glm4vForConditionalGeneration(config)
    model = model.to_empty(device="cpu")
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            n = torch.randn(p.shape, generator=random)
            if "norm" in name and name.endswith("weight"):
                p.copy_(1 + 0.2 * n)
            elif name.endswith("bias"):
                p.copy_(0.1 * n)
            elif "embed" in name and "proj" not in name:
                p.copy_(n)
            else:
                p.copy_(n / p[0].numel() ** 0.5)
        # No answer ends before it has all its tokens.
        model.lm_head.weight[ends] = 0
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    model.to(torch.float16).save_pretrained(partial)
    for name in KEPT:
        shutil.copyfile(tokens_of / name, partial / name)
    partial.rename(folder)


class Clock(LogitsProcessor):
    """Processor time at which the scores of each token were there."""

    def __init__(self):
        self.times = []

    def __call__(self, _, scores):
        self.times.append(time.process_time())
        return scores


def prepare(processor, questions):
    def turns(question):
        content = [{"type": "image"} for _ in question["pictures"]] + [{"type": "text", "text": question["text"]}]
        system = {"role": "system", "content": [{"type": "text", "text": question["system"]}]}
        return [system, {"role": "user", "content": content}]

    texts = [
        processor.apply_chat_template(turns(q), tokenize=False, add_generation_prompt=True, enable_thinking=False)
        for q in questions
    ]
    images = [Image.open(path).convert("RGB") for q in questions for path in q["pictures"]]
    return processor(text=texts, images=images, add_special_tokens=False, padding=True, return_tensors="pt")


def main():
    lines = (json.loads(line) for line in sys.stdin)
    first = next(lines)
    folder = Path(first["checkpoint"])
    if not folder.exists():
        make(folder, Path(first["tokens_of"]), first["seed"])
    model = Glm4vForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    model.generation_config.eos_token_id = None
    processor = AutoProcessor.from_pretrained(folder)
    prepared = [prepare(processor, [question]) for question in first["questions"]]
    packages = {module.__name__: module.__version__ for module in (torch, torchvision, transformers)}
    parameters = sum(p.numel() for p in model.parameters())
    say(packages=packages, parameters=parameters, input_ids=[p["input_ids"][0].tolist() for p in prepared])

    def answer(batch, tokens):
        inputs = prepare(processor, [first["questions"][i] for i in batch]) if len(batch) > 1 else prepared[batch[0]]
        # Without padding: both sides compute the same rows.
        assert bool(inputs["attention_mask"].all()), "the questions differ in length"
        clock = Clock()
        begun = time.process_time()
        with torch.inference_mode():
            out = model.generate(
                **inputs, do_sample=False, max_new_tokens=tokens, logits_processor=LogitsProcessorList([clock])
            )
        assert len(clock.times) == tokens
        seconds = (clock.times[-1] - clock.times[0]) / max(tokens - 1, 1)
        ids = out[:, inputs["input_ids"].shape[1] :]
        return dict(prefill=clock.times[0] - begun, decode=seconds, ids=ids.tolist())

    answer([0], 4)
    for question in lines:
        say(**answer(question["batch"], question["tokens"]))


def say(**answer):
    print(json.dumps(answer), flush=True)


main()
