#!/usr/bin/env python3
"""Measures the engine on this machine's card: right first, then fast. One command, under ten minutes, nothing fetched.

    python3 stages/inference/glm46v/benches/gpu/measure.py --binary gpu_bench.xz --commit "$(git rev-parse HEAD)"

Needs python3 with torch and transformers 5, one CUDA card, 45 GB of disk under --work and the binary that `build` packs.
Prints as it goes and writes the table to --out. Exit codes: 0 measured, and all that was compared agreed; 1 something
differed or failed; 3 there is no card.

    1  where libraries come from; probe: products, quantised products, attention kernels against the CPU
    2  parity of tiny checkpoints with transformers: bf16 on the card, judged by f32 on the CPU
    3  a random checkpoint of the published model's shape, made here
    4  prefill and decode at the roofline, then the study mixes at concurrency 1, 8 and 64
    5  transformers' generate on the same checkpoint and card

`--device cpu` does all of this with a checkpoint of 3 million weights and f32, so that only the device is new on the day.
"""

import argparse
import datetime
import itertools
import json
import lzma
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from roofline import FLASH, H200, Costs

# Pictures of a study, sides in pixels: 28 × 28 pixels a token.
MIXES = {
    "8 x 128": (8, 224, 448),
    "8 x 256": (8, 448, 448),
    "16 x 256": (16, 448, 448),
    "4 x 1024": (4, 896, 896),
}
TEXT = (0, 28, 28)
# As large as the checkpoint's processor lets a picture be: what the memory was reckoned for.
LARGEST = (1, 2184, 2184)
SHARED_TOKENS, OWN_TOKENS, NEW_TOKENS = 400, 200, 150
CONCURRENCY = (1, 8, 64)
# transformers is measured on this mix alone: the target is set there, and it is slow.
COMPARED = "8 x 256"
# Our error may be this many times the one of transformers' own bf16. In f32: this.
BF16_RATIO, F32_ALLOWED = 2.0, 1e-5
MINUTES = 9.5

# A model of the same kinds of layers, small enough for a processor.
SMALL = {
    "text_config": dict(FLASH["text_config"], hidden_size=256, num_hidden_layers=2, num_attention_heads=2,
                        num_key_value_heads=1, intermediate_size=416, vocab_size=1024),
    "vision_config": dict(FLASH["vision_config"], hidden_size=128, depth=2, num_heads=1, intermediate_size=416,
                          out_hidden_size=256),
    "tie_word_embeddings": False,
}  # fmt: skip


class Clock:
    """What is left of the command's time."""

    def __init__(self, minutes):
        self.end = time.monotonic() + 60 * minutes
        self.start = time.monotonic()

    def left(self):
        return self.end - time.monotonic()

    def say(self, text):
        print(f"[{time.monotonic() - self.start:5.0f} s] {text}", flush=True)


def libraries():
    """Folders of the CUDA libraries that PyTorch brings and of the driver, in the order in which they are searched."""
    import torch

    site = Path(torch.__file__).resolve().parent.parent
    folders = [str(folder) for folder in sorted(site.glob("nvidia/cu1*/lib")) + sorted(site.glob("nvidia/*/lib"))]
    cache = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=False).stdout
    drivers = [line.split("=> ")[1] for line in cache.splitlines() if "libcuda.so.1 " in line and "=> " in line]
    folders += [str(Path(driver).parent) for driver in drivers]
    folders += [folder for folder in ("/usr/local/nvidia/lib64", "/usr/local/nvidia/lib") if Path(folder).is_dir()]
    return list(dict.fromkeys(folders))


class Binary:
    """`gpu_bench`, unpacked, with the libraries it needs."""

    def __init__(self, path, work, folders):
        self.path = path
        if path.suffix == ".xz":
            self.path = work / "gpu_bench"
            with lzma.open(path) as packed, open(self.path, "wb") as unpacked:
                shutil.copyfileobj(packed, unpacked)
            self.path.chmod(0o755)
        own = os.environ.get("LD_LIBRARY_PATH", "")
        self.environment = dict(os.environ, LD_LIBRARY_PATH=":".join([*folders, *([own] if own else [])]))

    def missing(self):
        listed = subprocess.run(["ldd", self.path], env=self.environment, capture_output=True, text=True, check=True).stdout
        return [line.strip() for line in listed.splitlines() if "not found" in line]

    def lines(self, *arguments):
        """What it prints, line by line while it runs. Raises if it fails."""
        command = [str(self.path), *map(str, arguments)]
        with subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                yield json.loads(line)
        if process.returncode:
            raise RuntimeError(f"gpu_bench {arguments[0]} ended with {process.returncode}")


def card_name(device):
    if device == "cpu":
        model = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), ": CPU")
        return f"{model.split(':', 1)[1].strip()}, {os.cpu_count()} cores"
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip().splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        import torch

        return torch.cuda.get_device_name(0)


def probe(binary, device, clock):
    *_, line = [*binary.lines("probe", device)] or [{}]
    clock.say(f"matrix products {line['gemm_tflops']:.3g} TFLOP/s, copies {line['copy_tb_per_s']:.3g} TB/s")
    for check in line["checks"]:
        clock.say(f"  {check}")
    return line


def parity(binary, device, work, clock):
    import reference
    import torch

    root, out = work / "tiny", work / "answers"
    out.mkdir(parents=True)
    asked = reference.ask_tiny_checkpoints(root, torch.device(device))
    clock.say(f"transformers has answered {len(asked)} cases")
    for _ in binary.lines("parity", device, root, out):
        pass
    ours = reference.load_answers(out, asked)
    typical = max(max(case["reference_errors"]) for case in asked.values())
    allowed = F32_ALLOWED if device == "cpu" else BF16_RATIO * typical
    judged = {name: reference.judge(case, ours[name], allowed) for name, case in asked.items()}
    wrong = {name: verdict["wrong"] for name, verdict in judged.items() if verdict["wrong"]}
    for name, why in wrong.items():
        clock.say(f"  {name}: {why}")
    return dict(
        cases=len(judged),
        steps=sum(verdict["steps"] for verdict in judged.values()),
        error=max(verdict["error"] for verdict in judged.values()),
        reference_error=typical,
        allowed=allowed,
        wrong=wrong,
    )


def plan_loads(processor, sizes):
    """Prefill alone, decode alone, then the mixes; those with a target first, in case the time runs out."""
    import reference

    seeds = itertools.count(step=100_000)

    def load(name, shape, concurrency, studies, new_tokens):
        """No two loads show the same pictures or say the same: nothing of one may be in the caches for another."""
        pictures, height, width = shape
        first_seed = next(seeds)
        # One study goes before those that are measured.
        words = [reference.words_of(processor, OWN_TOKENS, first_seed + study) for study in range(studies + 1)]
        return dict(
            name=name, pictures=pictures, height=height // sizes, width=width // sizes, words=words, first_seed=first_seed,
            new_tokens=new_tokens, concurrency=concurrency,
        )  # fmt: skip

    few = sizes > 1
    new = 8 if few else NEW_TOKENS
    loads = [
        load("largest picture", LARGEST, 1, 1, 2),
        load("prefill", MIXES[COMPARED], 8, 4 if few else 32, 1),
        load("decode", TEXT, 64, 8 if few else 64, new if few else 256),
    ]
    for mix in sorted(MIXES, key=lambda mix: mix != COMPARED):
        for concurrency in sorted(CONCURRENCY, key=lambda n: n == 1):
            studies = 2 if few else {1: 4, 8: 24, 64: 128}[concurrency]
            loads.append(load(mix, MIXES[mix], concurrency, studies, new))
    return loads


def ours(binary, device, work, model, system, loads, seconds):
    plan = work / "plan.json"
    big = device != "cpu"
    plan.write_text(json.dumps(dict(
        model=str(model), device=device, running=64, step_rows=8192 if big else 512,
        kv_bytes=16 << 30 if big else 64 << 20, vision_cache_bytes=2 << 30 if big else 64 << 20,
        system=system, loads=loads, seconds=seconds,
    )))  # fmt: skip
    return [*binary.lines("load", plan)]


def transformers_loads(model, processor, device, system, loads, clock):
    import reference
    import torch

    theirs = {}
    started = reference.Reference(model, processor, torch.device(device))
    clock.say(f"transformers has loaded the checkpoint in {started.started_s:.0f} s")
    for load in loads:
        if load["name"] != COMPARED:
            continue
        studies = min(len(load["words"]) - 1, max(2, load["concurrency"]))
        if clock.left() < 60:
            theirs[load["concurrency"]] = dict(skipped="no time left")
            continue
        try:
            theirs[load["concurrency"]] = started.measure(load, system, studies)
        except torch.OutOfMemoryError:
            theirs[load["concurrency"]] = dict(skipped="out of memory")
    return theirs


def row(line, load, costs):
    """One line of the table, from what the driver counted and what the model must compute."""
    if "skipped" in line:
        return [line["load"], line["concurrency"], *["-"] * 6, line["skipped"]]
    studies, wall = line["studies"], line["wall_s"]
    prompt, cached, new = (line[key] / studies for key in ("prompt_tokens", "cached_tokens", "new_tokens"))
    patches = 4 * line["vision_tokens"] / studies / max(1, load["pictures"])
    prefill = costs.prefill_flops(load["pictures"], patches, prompt, cached)
    decode = costs.decode_flops(prompt, new)
    median = line["median_ms"]
    first_token = median["preprocess"] + median["queue"] + median["vision"] + median["prefill"]
    mfu = studies * (prefill + decode) / wall / H200.flops
    step_ms = median["decode"] / (new - 1) if new > 1 else None
    together = min(line["concurrency"], studies)
    bandwidth = step_ms and costs.decode_bytes(together, prompt + new / 2) / (step_ms / 1e3) / H200.bytes_per_s
    return [
        line["load"], line["concurrency"], f"{studies / wall:.2f}", f"{first_token:.0f}", f"{100 * mfu:.2g} %",
        f"{step_ms:.1f}" if step_ms else "-", f"{100 * bandwidth:.2g} %" if bandwidth else "-",
        f"{(prompt - cached) * studies / wall:.0f}", f"{line['peak_bytes'] / 1e9:.1f}" if line["peak_bytes"] else "-",
    ]  # fmt: skip


def table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def report(arguments, hardware, probed, agreed, lines, loads, theirs, costs):
    by_key = {(load["name"], load["concurrency"]): load for load in loads}
    engine = next(line["engine"] for line in lines if "engine" in line)
    measured = [line for line in lines if "load" in line]
    peak = max((line["peak_bytes"] for line in measured if line.get("peak_bytes")), default=None)
    predicted = engine["predicted_bytes"]
    judged = "all agree" if not agreed["wrong"] else f"**{len(agreed['wrong'])} differ**"
    memory = f"predicted {predicted / 1e9:.2f} GB"
    if peak:
        memory += f", peak {peak / 1e9:.2f} GB ({100 * (peak / predicted - 1):+.1f} %)"
    text = f"""# GPU measurements

- hardware: {hardware}
- date: {datetime.date.today()}, commit: {arguments.commit}
- command: `{" ".join(["measure.py", *sys.argv[1:]])}`
- engine: {engine["compute"]}, started in {engine["started_s"]:.0f} s
- probe: matrix products {probed["gemm_tflops"]:.3g} TFLOP/s, copies {probed["copy_tb_per_s"]:.3g} TB/s
- parity with transformers: {agreed["cases"]} cases, {agreed["steps"]} steps, {judged}; scores within {agreed["error"]:.1e} of
  f32 ({agreed["allowed"]:.1e} allowed, transformers' own bf16 is within {agreed["reference_error"]:.1e})
- memory: {memory}

MFU counts all products of the studies against {H200.flops / 1e12:.0f} TFLOP/s, bandwidth the weights, keys and values of a
decoding step against {H200.bytes_per_s / 1e12:.1f} TB/s. A step of a mix also carries other studies' prompts: `prefill` and
`decode` show the two apart.

"""
    header = ["load", "concurrency", "studies/s", "first token ms", "MFU", "step ms", "bandwidth", "prompt tokens/s", "peak GB"]
    text += table(header, [row(line, by_key[line["load"], line["concurrency"]], costs) for line in measured])
    rates = {line["concurrency"]: line["studies"] / line["wall_s"] for line in measured
             if line["load"] == COMPARED and "skipped" not in line}  # fmt: skip
    rows = []
    for concurrency, line in sorted(theirs.items()):
        if "skipped" in line:
            rows.append([concurrency, "-", "-", "-", line["skipped"]])
            continue
        alone = line["studies"] / line["generate_s"]
        both = line["studies"] / (line["generate_s"] + line["prepare_s"])
        ratio = f"{rates[concurrency] / alone:.2f}" if concurrency in rates else "-"
        peak = f"{line['peak_bytes'] / 1e9:.1f}" if line["peak_bytes"] else "-"
        rows.append([concurrency, f"{alone:.2f}", f"{both:.2f}", ratio, peak])
    text += f"\ntransformers, {COMPARED}, `generate` in batches of the concurrency; ours over theirs without their preprocessing:\n\n"
    return text + table(["concurrency", "studies/s", "with preprocessing", "ours / theirs", "peak GB"], rows)


def measure(arguments, work, clock):
    import torch

    import reference

    device = arguments.device
    folders = libraries() if device != "cpu" else []
    binary = Binary(arguments.binary.resolve(), work, folders)
    clock.say("libraries: " + (":".join(folders) or "the system's"))
    if missing := binary.missing():
        raise RuntimeError("libraries are missing: " + "; ".join(missing))
    hardware = card_name(device)
    clock.say(hardware)
    probed = probe(binary, device, clock)
    agreed = parity(binary, device, work, clock)
    clock.say(f"parity: {agreed['cases']} cases, {len(agreed['wrong'])} differ, error {agreed['error']:.1e}")

    dims = SMALL if device == "cpu" else FLASH
    config, processor = reference.write_random_checkpoint(work / "random", dims, torch.device(device))
    costs = Costs.of(config)
    clock.say(f"random checkpoint of {costs.weights / 1e6:.0f} million weights")
    if device != "cpu":
        torch.cuda.empty_cache()
    system = reference.words_of(processor, SHARED_TOKENS, 10**6)
    loads = plan_loads(processor, 4 if device == "cpu" else 1)
    lines = ours(binary, device, work, work / "random", system, loads, seconds=max(60, clock.left() - 150))
    # Written twice: what there is stays, should the machine be taken away.
    arguments.out.write_text(report(arguments, hardware, probed, agreed, lines, loads, {}, costs))
    clock.say("the engine has been measured")
    theirs = transformers_loads(work / "random", processor, device, system, loads, clock)
    text = report(arguments, hardware, probed, agreed, lines, loads, theirs, costs)
    print("\n" + text)
    arguments.out.write_text(text)
    return 1 if agreed["wrong"] else 0


def main():
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--binary", type=Path, required=True, help="gpu_bench, or gpu_bench.xz")
    arguments.add_argument("--device", default="cuda:0", help="cuda:0, or cpu for a rehearsal")
    arguments.add_argument("--commit", default="unknown", help="for the table")
    arguments.add_argument("--out", type=Path, default=Path("gpu.md"), help="the table")
    arguments.add_argument("--work", type=Path, help="where 45 GB are free; a temporary folder if not given")
    arguments.add_argument("--minutes", type=float, default=MINUTES, help="after which nothing further is begun")
    arguments = arguments.parse_args()
    if arguments.device != "cpu":
        import torch

        if not torch.cuda.is_available():
            print("measure.py: PyTorch sees no CUDA card on this machine; nothing was measured", file=sys.stderr)
            return 3
    with tempfile.TemporaryDirectory(dir=arguments.work) as work:
        return measure(arguments, Path(work), Clock(arguments.minutes))


if __name__ == "__main__":
    sys.exit(main())
