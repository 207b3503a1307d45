"""What transformers makes of the same requests, on the same card: answers to compare with, and its speed."""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import Glm4vConfig, Glm4vForConditionalGeneration, Glm46VProcessor, LogitsProcessor, LogitsProcessorList
from transformers.models.glm46v.image_processing_pil_glm46v import Glm46VImageProcessorPil
from transformers.models.glm46v.video_processing_glm46v import Glm46VVideoProcessor

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "fixtures"))
import checkpoints  # noqa: E402
import questions  # noqa: E402

# Besides the committed shapes: heads as wide as the published model's, which FlashAttention's kernels are made for.
WIDE_HEADS = checkpoints.Shape(
    "wide-heads", "v5", "glm4v", "4.6V", False, torch.bfloat16, 256, 2, 2, 1, 192, 5e5, 0.5, (8, 12, 12), 256, 2, 2, 160, 336
)
WIDE_HEADS_KV2 = checkpoints.Shape(
    "wide-heads-kv2", "v5", "glm46v", "4.6V", True, torch.bfloat16, 512, 1, 4, 2, 192, 5e5, 0.5, (8, 12, 12), 128, 1, 1, 160, 112
)
SHAPES = [*checkpoints.SHAPES, WIDE_HEADS, WIDE_HEADS_KV2]
STEPS = 32


class Forced(LogitsProcessor):
    """Writes an answer that is given, whatever the scores say."""

    def __init__(self, ids, prompt):
        self.ids, self.prompt = ids, prompt

    def __call__(self, input_ids, scores):
        only = torch.full_like(scores, -torch.inf)
        only[:, self.ids[input_ids.shape[1] - self.prompt]] = 0
        return only


def forced_logits(model, inputs, ids):
    """Scores of each step of an answer that is given, `[steps, vocabulary]`."""
    inputs = {
        name: value.to(model.device, model.dtype) if value.is_floating_point() else value.to(model.device)
        for name, value in inputs.items()
    }
    forced = LogitsProcessorList([Forced(ids, inputs["input_ids"].shape[1])])
    with torch.no_grad():
        out = model.generate(
            **inputs, do_sample=False, max_new_tokens=len(ids), logits_processor=forced, output_logits=True,
            return_dict_in_generate=True,
        )  # fmt: skip
    return torch.stack([step[0] for step in out.logits]).float().cpu()


def ask_tiny_checkpoints(root, device):
    """Writes checkpoints and cases as `gpu_bench parity` reads them. Returns per case the reference's scores and ids, and the
    relative error of transformers' own bf16 at each step."""
    questions.STEPS = STEPS
    (root / "cases").mkdir(parents=True)
    album, asked = questions.Album(), {}
    for shape in SHAPES:
        model, processor = checkpoints.write(shape, root / shape.name, salt="gpu/")
        cases = questions.committed_cases(album, shape.token_side, False)
        answers = {}
        for name, case in cases.items():
            watched = Watched(processor)
            answered = questions.generate(model, watched, case, album)
            questions.save_case(root / "cases", f"{shape.name}.{name}", shape.name, processor, case, answered)
            answers[name] = (answered[0], watched.inputs)
        low = model.to(dtype=torch.bfloat16, device=device)
        for name, (made, inputs) in answers.items():
            wanted, ids = made["logits"], made["greedy_ids"].tolist()
            own = forced_logits(low, inputs, ids)
            asked[f"{shape.name}.{name}"] = dict(
                input_ids=made["input_ids"].tolist(),
                ids=ids,
                logits=wanted,
                reference_errors=relative_errors(own, wanted),
            )
    album.save(root / "cases" / "pictures.safetensors")
    return asked


class Watched:
    """A processor whose last answer is kept."""

    def __init__(self, processor):
        self.processor, self.inputs = processor, None

    def __getattr__(self, name):
        return getattr(self.processor, name)

    def __call__(self, *arguments, **named):
        self.inputs = self.processor(*arguments, **named)
        return self.inputs


def relative_errors(ours, wanted):
    """Length of the difference over length of what is wanted, per step."""
    return ((ours - wanted).norm(dim=-1) / wanted.norm(dim=-1)).tolist()


def judge(case, ours, allowed):
    """Our answer to a case against the reference's: the worst relative error while both have written the same, and what is
    wrong, if anything is."""
    if ours["input_ids"].tolist() != case["input_ids"]:
        return dict(error=float("nan"), steps=0, wrong="the prompt has other ids")
    ids, wanted = ours["ids"].tolist(), case["ids"]
    same = next((i for i, (a, b) in enumerate(zip(ids, wanted)) if a != b), min(len(ids), len(wanted)))
    # The step at which they part has the same past.
    compared = min(same + 1, len(ids), len(wanted))
    worst = max(relative_errors(ours["logits"][:compared], case["logits"][:compared]))
    wrong = None if worst <= allowed else f"scores differ by {worst:.1e}, {allowed:.1e} allowed"
    if same < min(len(ids), len(wanted)):
        scores = case["logits"][same]
        margin = float((scores[wanted[same]] - scores[ids[same]]) / scores.norm())
        # Each of the two scores may have moved by as much as the whole vector.
        if margin > 2**0.5 * worst:
            wrong = f"step {same} chose an id that is {margin:.1e} below the best, beyond rounding"
    return dict(error=worst, steps=compared, wrong=wrong)


def load_answers(folder, names):
    return {name: load_file(folder / f"{name}.safetensors") for name in names}


def write_random_checkpoint(folder, dims, device):
    """A checkpoint of the given dimensions with random weights in bf16, in shards, and the fixtures' small tokenizer. The
    end tokens score 0 at every step, so that no answer ends before its length."""
    tok = checkpoints.train_tokenizer(checkpoints.GLM_46V_TOKENS)
    eos = [tok.convert_tokens_to_ids(token) for token in checkpoints.END_46V]
    text, vision = dict(dims["text_config"]), dict(dims["vision_config"])
    pairs = text["head_dim"] // 4
    sections = [pairs // 4, pairs * 3 // 8, pairs - pairs // 4 - pairs * 3 // 8]
    text["rope_parameters"] = checkpoints.rope_parameters(5e5, 0.5, sections)
    values = checkpoints.config_values(tok, text, vision)
    config = Glm4vConfig(tie_word_embeddings=dims["tie_word_embeddings"], **values)
    config.text_config.eos_token_id = eos
    config.architectures, config.dtype = ["Glm4vForConditionalGeneration"], "bfloat16"
    with torch.device("meta"):
        model = Glm4vForConditionalGeneration(config)
    folder.mkdir(parents=True)
    shard, size, shards = {}, 0, []

    def close():
        nonlocal shard, size
        save_file(shard, folder / f"model-{len(shards) + 1:05}.safetensors", metadata={"format": "pt"})
        shards.append(list(shard))
        shard, size = {}, 0

    for seed, (name, parameter) in enumerate(model.named_parameters()):
        generator = torch.Generator(device).manual_seed(seed)
        values = torch.randn(parameter.shape, generator=generator, device=device, dtype=torch.bfloat16)
        if "norm" in name and name.endswith("weight"):
            values = 1 + 0.2 * values
        elif name.endswith("bias"):
            values *= 0.1
        elif name != "model.language_model.embed_tokens.weight":
            values *= parameter[0].numel() ** -0.5
        if name == "lm_head.weight":
            values[eos] = 0
        shard[name] = values.cpu()
        size += values.numel() * 2
        if size > 4e9:
            close()
    if shard:
        close()
    names = [f"model-{i + 1:05}.safetensors" for i in range(len(shards))]
    total = sum(parameter.numel() * 2 for parameter in model.parameters())
    index = {name: file for file, part in zip(names, shards) for name in part}
    (folder / "model.safetensors.index.json").write_text(
        checkpoints.json.dumps({"metadata": {"total_size": total}, "weight_map": index})
    )
    config.save_pretrained(folder)
    (folder / "generation_config.json").write_text(checkpoints.json.dumps({"eos_token_id": eos, "pad_token_id": eos[0]}))
    # As the family's published files have it: pictures of up to 6144 tokens.
    size = {"shortest_edge": 12544, "longest_edge": 9633792}
    processor = Glm46VProcessor(
        image_processor=Glm46VImageProcessorPil(size=size),
        tokenizer=tok,
        video_processor=Glm46VVideoProcessor(size=size),
        chat_template=checkpoints.TEMPLATE,
    )
    processor.save_pretrained(folder)
    return config.to_dict(), processor


def words_of(processor, tokens, seed):
    """Text of so many tokens, another for each seed."""
    lines = [line for line in checkpoints.CORPUS.split("\n") if line]
    r = np.random.default_rng(seed)
    ids = []
    while len(ids) < tokens:
        ids += processor.tokenizer(str(r.integers(10**6)) + " " + lines[r.integers(len(lines))] + "\n")["input_ids"]
    return processor.tokenizer.decode(ids[:tokens])


class Reference:
    """transformers' `generate` on the random checkpoint, in bf16 with its fastest attention that needs no further package."""

    def __init__(self, folder, processor, device):
        start = time.monotonic()
        self.processor, self.device = processor, device
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        self.model = Glm4vForConditionalGeneration.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa")
        self.model = self.model.to(device).eval()
        self.started_s = time.monotonic() - start

    def measure(self, load, system, studies):
        """Studies in batches of the load's concurrency. Seconds of the processor and of `generate` are kept apart."""
        self.batch(load, system, 0, 1)
        prepare = generate = 0.0
        size = load["concurrency"]
        for first in range(0, studies, size):
            p, g = self.batch(load, system, first, min(size, studies - first))
            prepare, generate = prepare + p, generate + g
        return dict(studies=studies, prepare_s=prepare, generate_s=generate, peak_bytes=self.peak())

    def batch(self, load, system, first, count):
        start = time.monotonic()
        texts, images = [], []
        for study in range(first, first + count):
            r = np.random.default_rng(study)
            shape = (load["height"], load["width"], 3)
            images += [Image.fromarray(r.integers(0, 256, shape, dtype=np.uint8)) for _ in range(load["pictures"])]
            content = [{"type": "image"}] * load["pictures"] + [{"type": "text", "text": load["words"][study]}]
            messages = [
                {"role": "system", "content": [{"type": "text", "text": system}]},
                {"role": "user", "content": content},
            ]
            texts.append(
                self.processor.apply_chat_template(
                    messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
                )
            )
        inputs = self.processor(
            text=texts, images=images or None, padding=True, add_special_tokens=False, return_tensors="pt"
        ).to(self.device)
        if "pixel_values" in inputs:
            inputs["pixel_values"] = inputs["pixel_values"].to(self.model.dtype)
        self.synchronize()
        prepared = time.monotonic()
        new = load["new_tokens"]
        with torch.no_grad():
            out = self.model.generate(**inputs, do_sample=False, min_new_tokens=new, max_new_tokens=new)
        self.synchronize()
        assert out.shape[1] == inputs["input_ids"].shape[1] + new, out.shape
        return prepared - start, time.monotonic() - prepared

    def synchronize(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def peak(self):
        return torch.cuda.max_memory_reserved(self.device) if self.device.type == "cuda" else None
