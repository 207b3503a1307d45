"""What a checkpoint scores on the test split, with the score of a constant answer beside every number.

Batches run through `Tower`; the first samples are asked through transformers' own `generate` as well, and should give the
same answers.
"""

import json
from collections import Counter
from statistics import mean

import numpy as np
import torch
from PIL import Image
from transformers import Glm4vForConditionalGeneration, Glm46VProcessor
from transformers.video_utils import VideoMetadata

from . import card, data, recipe, wording
from .reader import Reader, expected
from .turns import Turns

BATCH = 64
# Samples that are asked about in other languages than the first.
OTHER_LANGUAGES = 256
# Samples that transformers is asked about as well.
ASKED = 4


def quantile(numbers, share):
    cumulated = np.cumsum(numbers[:100]) / numbers[:100].sum()
    return int(np.searchsorted(cumulated, share))


def band(ef):
    return 0 if ef <= 40 else 1 if ef < 50 else 2


def right(pairs):
    """Share of right answers, and that of always giving the most frequent one."""
    pairs = list(pairs)
    most = Counter(truth for _, truth in pairs).most_common(1)[0][1]
    return {
        "right": round(mean(a == t for a, t in pairs), 4),
        "most_frequent": round(most / len(pairs), 4),
        "n": len(pairs),
    }


def echo_report(answers, truths):
    """The ejection fraction counts where the picture allows one and the model does not decline; who declines gives none."""
    declines = [bool(answer["numbers"][100] > 0.5) for answer in answers]
    readable = [data.lvef(truth) is not None for truth in truths]
    told = np.array([data.lvef(t) for t, r, d in zip(truths, readable, declines) if r and not d])
    numbers = [a["numbers"] for a, r, d in zip(answers, readable, declines) if r and not d]
    read = np.array([expected(one) for one in numbers])
    greedy = np.array([int(one[:100].argmax()) for one in numbers])
    low, high = (np.array([quantile(one, share) for one in numbers]) for share in (0.05, 0.95))
    errors = np.abs(read - told)
    usable = [truth["quality"] != "poor" for truth in truths]
    views = [(answer["view"], truth["view"]) for answer, truth in zip(answers, truths)]
    return {
        "ef_n": len(told),
        "ef_mae": round(float(errors.mean()), 3),
        # A constant answer: the mean of the range that phantoms are drawn from.
        "ef_mae_constant_45": round(float(np.abs(told - 45.0).mean()), 3),
        "ef_mae_greedy": round(float(np.abs(greedy - told).mean()), 3),
        "ef_error_quantiles_50_90_99": [round(float(np.quantile(errors, q)), 2) for q in (0.5, 0.9, 0.99)],
        "ef_r": round(float(np.corrcoef(read, told)[0, 1]), 4),
        "ef_band": right(zip(map(band, read), map(band, told))),
        "ef_token_interval_90": {
            "coverage": round(float(((low - 0.5 <= told) & (told <= high + 0.5)).mean()), 4),
            "mean_width": round(float((high - low).mean()), 2),
        },
        "declined_though_readable": round(mean(d for d, r in zip(declines, readable) if r), 4),
        "declined_where_it_must": round(mean(d for d, r in zip(declines, readable) if not r), 4),
        "view": right(views),
        "view_good_or_fair": right(view for view, use in zip(views, usable) if use),
        "view_by_class": {v: right(one for one in views if one[1] == v)["right"] for v in recipe.VIEWS},
        "quality": right((answer["quality"], truth["quality"]) for answer, truth in zip(answers, truths)),
    }


def pathology_report(answers, truths):
    fields = {
        "tissue": lambda t: t["tissue"],
        "nuclei": data.nuclei,
        "artefact": lambda t: t["artefact"],
        "quality": lambda t: t["quality"],
    }
    found = {field: right((a[field], of(t)) for a, t in zip(answers, truths)) for field, of in fields.items()}
    found["artefact_by_class"] = {
        str(kind): right((a["artefact"], kind) for a, t in zip(answers, truths) if t["artefact"] == kind)["right"]
        for kind in recipe.ARTEFACTS
    }
    return found


def asked_of_transformers(built, processor, samples, language):
    """Answers of `generate` to the first beats, as text."""
    found = []
    for pictures in samples.pictures[:ASKED]:
        frames = [Image.fromarray(frame.numpy()).convert("RGB") for frame in pictures]
        video = torch.stack([torch.from_numpy(np.array(frame)).permute(2, 0, 1) for frame in frames])
        system, user = wording.turns("echo", language)
        messages = [
            {"role": "system", "content": [{"type": "text", "text": system}]},
            {"role": "user", "content": [{"type": "video"}, {"type": "text", "text": user}]},
        ]
        text = processor.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        times = VideoMetadata(total_num_frames=2, fps=1.0, duration=2.0, frames_indices=[0, 1])
        inputs = processor(
            text=[text],
            videos=[video],
            video_metadata=[times],
            do_sample_frames=False,
            add_special_tokens=False,
            return_tensors="pt",
        )
        ids = built.generate(**inputs, do_sample=False, max_new_tokens=64)
        found.append(processor.tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
    return found


@torch.no_grad()
def main(folder, work, made, split="test"):
    """Prints the report, and writes it into the model card."""
    torch.set_num_threads(1)
    built = Glm4vForConditionalGeneration.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="sdpa"
    ).eval()
    processor = Glm46VProcessor.from_pretrained(folder)
    reader = Reader(built, Turns(built, processor.tokenizer, processor))
    report = {"parameters": sum(p.numel() for p in built.parameters()), "split": split}
    for language in wording.LANGUAGES:
        for kind, ask in (("echo", reader.echo), ("pathology", reader.pathology)):
            samples = data.load(work, kind, split)
            if language != wording.LANGUAGES[0]:
                samples = data.Samples(samples.pictures[:OTHER_LANGUAGES], samples.truths[:OTHER_LANGUAGES])
            answers = [
                one for i in range(0, len(samples), BATCH) for one in ask(language, samples.pictures[i : i + BATCH])
            ]
            report_of = echo_report if kind == "echo" else pathology_report
            report[f"{kind}.{language}"] = report_of(answers, samples.truths)
            if kind == "echo":
                texts = asked_of_transformers(built, processor, samples, language)
                same = [
                    (a["view"], a["quality"]) == (b["view"], b["quality"])
                    for a, b in zip(answers, map(json.loads, texts))
                ]
                report[f"transformers_agrees.{language}"] = f"{sum(same)} of {len(same)}, first: {texts[0]}"
    print(json.dumps(report, indent=1))
    (folder / "MODEL_CARD.md").write_text(card.text(report, made))
    return report
