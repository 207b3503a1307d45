"""`prescreen serve-model` asked by the openai client and by curl, as they are.

    python openai_client.py PRESCREEN WORK_FOLDER

The checkpoint is the untrained one that the binary carries. Prints a line for each check; exit 1 if one failed.
"""

import asyncio
import base64
import io
import json
import math
import random
import re
import signal
import subprocess
import sys
import time
import traceback
import urllib.request
from pathlib import Path
from typing import Literal

import numpy as np
import openai
from PIL import Image
from pydantic import BaseModel, Field

from service import free_port, until

MODEL = "prescreen"
# In every prompt, and so in no line of the log.
MARK = "XQZMODEL4471"
CONCURRENT = 128
# Of the crowd. In the first half threads and their heaps come up to their number; over the second half RSS may grow by so
# much: 20 KiB a request.
ROUNDS = 8
MOST_GROWTH_MIB = 10
SECONDS_OF_A_ROUND = 300
# Letters of an answer that is not waited for; by chance, because one that repeats itself is cut off.
LONG = 8000
# Of the first server. Its stores are so small that the first round fills them.
PLACES = {"model.queue": 56, "model.running": 8}
STORES = {"model.kv_memory": "16MiB", "model.vision_cache": "1MiB"}


class Server:
    """`prescreen serve-model` below `folder`; stopped with the `with` block."""

    def __init__(self, binary, folder, **settings):
        self.log, data_dir = folder / "log", folder / "data"
        folder.mkdir(parents=True)
        self.url = f"http://127.0.0.1:{free_port()}"
        listen = self.url.removeprefix("http://")
        # An answer that does not depend on those beside it can be compared with itself, asked alone.
        fixed = {"model.path": "glm4v-untrained", "model.deterministic": "true", "log.filter": "debug"}
        settings = {"model_server.listen": listen} | fixed | settings
        self.command = [str(binary), "serve-model", "--data-dir", str(data_dir)]
        for key, value in settings.items():
            self.command += ["--set", f"{key}={value}"]
        self.key_file = data_dir / "model-server.key"

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=self.log.open("wb"), stderr=subprocess.STDOUT)
        try:
            until(f"an answer at {self.url}; see {self.log}", lambda: self.alive() and self.healthy(), 120)
        except BaseException:
            self.process.kill()
            raise
        self.key = self.key_file.read_text().strip()
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("the server did not stop within 60 s of SIGTERM") from None
        assert code == 0, f"the server ended with {code}"

    def alive(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended with {self.process.returncode}: {self.log.read_text()[-2000:]}")
        return True

    def healthy(self):
        try:
            return urllib.request.urlopen(f"{self.url}/health", timeout=5).status == 200
        except OSError:
            return False

    def settings(self, **others):
        return dict(base_url=f"{self.url}/v1", api_key=self.key, max_retries=0, timeout=SECONDS_OF_A_ROUND) | others

    def client(self, **others):
        return openai.OpenAI(**self.settings(**others))

    def metric(self, name):
        page = urllib.request.urlopen(f"{self.url}/metrics", timeout=30).read().decode()
        return sum(float(value) for value in re.findall(rf"^{re.escape(name)} (\S+)$", page, re.MULTILINE))

    def resident_mib(self):
        return int(re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())[1]) / 1024


def data_url(height, width, seed, kind="PNG"):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, kind)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(held.getvalue()).decode()}"


def turn(words, *pictures):
    shown = [{"type": "image_url", "image_url": {"url": url}} for url in pictures]
    return [{"role": "user", "content": [*shown, {"type": "text", "text": f"{MARK} {words}"}]}]


def constant(value):
    """The response format that only this string fits."""
    return {"type": "json_schema", "json_schema": {"name": "constant", "strict": True, "schema": {"const": value}}}


def ask(client, words, *pictures, **options):
    options = dict(max_tokens=16, temperature=0) | options
    return client.chat.completions.create(model=MODEL, messages=turn(words, *pictures), **options)


def refused(kind, status, call):
    try:
        call()
    except kind as error:
        assert error.status_code == status, f"{error.status_code} instead of {status}"
        assert error.body["message"], error.body
        return error
    raise AssertionError(f"answered, where {status} was expected")


def lists_its_model(server):
    models = server.client().models.list().data
    assert [model.id for model in models] == [MODEL], models
    return models[0].id


def answers_about_a_picture(server):
    answer = ask(server.client(), "Which view?", data_url(60, 80, 1), data_url(90, 50, 2, "JPEG"))
    choice, usage = answer.choices[0], answer.usage
    assert choice.message.role == "assistant" and choice.finish_reason in ("stop", "length")
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens and usage.completion_tokens <= 16
    without = ask(server.client(), "Which view?").usage
    assert usage.prompt_tokens > without.prompt_tokens, "the pictures are no tokens"
    return f"{usage.prompt_tokens} prompt tokens, {without.prompt_tokens} without the pictures"


def streams_the_same_answer(server):
    client = server.client()
    whole = ask(client, "Go on: 心臓", max_tokens=48)
    stream = ask(client, "Go on: 心臓", max_tokens=48, stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content, f"{text!r} is not {whole.choices[0].message.content!r}"
    ends = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason]
    assert ends == [whole.choices[0].finish_reason], ends
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    return f"{len(chunks)} chunks, {whole.usage.completion_tokens} tokens"


class Reading(BaseModel):
    view: Literal["A4C", "A2C", "PLAX"]
    lvef_percent: int | None = Field(ge=0, le=100)
    findings: list[Literal["EFFUSION", "DILATED_LV"]] = Field(max_length=2)


def answers_by_schema(server):
    client, answers = server.client(), set()
    for seed in range(8):
        parsed = client.chat.completions.parse(
            model=MODEL, messages=turn(f"Case {seed}", data_url(56, 56, seed)), response_format=Reading, max_tokens=120,
            temperature=1.0, seed=seed,
        )  # fmt: skip
        reading = parsed.choices[0].message.parsed
        assert reading is not None and parsed.choices[0].finish_reason == "stop"
        answers.add(parsed.choices[0].message.content)
    assert len(answers) > 1, "the same answer to everything"
    return f"8 answers, {len(answers)} different, for example {min(answers)}"


def tells_log_probabilities(server):
    answer = ask(server.client(), "Which view?", logprobs=True, top_logprobs=3)
    tokens = answer.choices[0].logprobs.content
    assert len(tokens) == answer.usage.completion_tokens
    for token in tokens:
        best = token.top_logprobs
        assert len(best) == 3 and best[0].token == token.token, "greedy takes the likeliest"
        assert all(a.logprob >= b.logprob for a, b in zip(best, best[1:], strict=False))
        assert math.fsum(math.exp(other.logprob) for other in best) <= 1 + 1e-4
    return f"{len(tokens)} tokens with three alternatives"


def same_seed_same_answer(server):
    def by_chance(seed):
        return ask(server.client(), "Roll", temperature=1.0, seed=seed, max_tokens=24).choices[0].message.content

    assert by_chance(5) == by_chance(5)
    assert len({by_chance(seed) for seed in range(5)}) > 1, "chance has no effect"


def refuses_a_wrong_key(server):
    refused(openai.AuthenticationError, 401, lambda: ask(server.client(api_key="not-the-key-of-this-server"), "a"))
    refused(openai.AuthenticationError, 401, lambda: server.client(api_key=server.key + "x").models.list())


def refuses_what_is_too_large(server):
    client = server.client()
    refused(openai.APIStatusError, 413, lambda: ask(client, "a", data_url(4100, 4000, 1, "JPEG")))
    refused(openai.APIStatusError, 413, lambda: ask(client, "a" * (33 << 20)))
    assert ask(client, "a").choices, "the next one is answered"


def refuses_what_it_does_not_do(server):
    client = server.client()
    refused(openai.NotFoundError, 404, lambda: client.chat.completions.create(model="gpt-4o", messages=turn("a")))
    for option in (dict(n=2), dict(stop=["."]), dict(tools=[{"type": "function", "function": {"name": "f"}}])):
        error = refused(openai.BadRequestError, 400, lambda option=option: ask(client, "a", **option))
        assert error.param in option, error.param
    error = refused(openai.BadRequestError, 400, lambda: ask(client, "a", "https://example.org/a.png"))
    assert error.param == "messages[0].content[0].image_url", error.param


def curl(server, body, *options, key=None):
    """Status and body."""
    command = ["curl", "-sS", "-w", "\n%{http_code}", "-H", f"Authorization: Bearer {key or server.key}"]
    command += ["-H", "Content-Type: application/json", "--data-binary", "@-", *options, f"{server.url}/v1/chat/completions"]
    said = subprocess.run(command, input=body.encode(), capture_output=True, timeout=120, check=True).stdout.decode()
    text, _, status = said.rpartition("\n")
    return int(status), text


def answers_curl(server):
    body = dict(model=MODEL, messages=turn("Which view?", data_url(60, 80, 1)), max_tokens=8)
    status, text = curl(server, json.dumps(body))
    content = json.loads(text)["choices"][0]["message"]["content"]
    assert status == 200 and content == ask(server.client(), "Which view?", data_url(60, 80, 1), max_tokens=8).choices[0].message.content
    status, text = curl(server, json.dumps(body | {"stream": True}), "-N")
    assert status == 200 and text.rstrip().endswith("data: [DONE]"), text[-100:]
    assert curl(server, json.dumps(body), key="not-the-key-of-this-server")[0] == 401
    assert curl(server, "a" * (33 << 20))[0] == 413
    status, text = curl(server, "{")
    assert status == 400 and json.loads(text)["error"]["type"] == "invalid_request_error"


def full_queue_and_cancelling(server):
    """Two places, one of them to wait in: a third is told to come back; who leaves is followed by the next."""
    client, long = server.client(), "".join(random.Random(1).choices("abcdefgh", k=LONG))
    go_on = dict(max_tokens=LONG + 100, response_format=constant(long))
    first = ask(client, "Go on", stream=True, **go_on)
    assert is_being_written(first)
    second = ask(client, "Go on, too", stream=True, **go_on)
    error = refused(openai.RateLimitError, 429, lambda: ask(client, "a"))
    assert error.type == "rate_limit_error", error.type
    assert server.metric('prescreen_inference_requests_running') == 1
    first.close()
    assert is_being_written(second), "the second one has its turn"
    second.close()
    until("a place is free", lambda: answered(client), 20, 0.02)
    # One that waits for its whole answer and hangs up.
    try:
        ask(server.client(timeout=1.0), "Go on", **go_on)
        raise AssertionError(f"{LONG} tokens within a second")
    except openai.APITimeoutError:
        pass
    until("the place is free again", lambda: answered(client), 20, 0.02)
    generated = server.metric('prescreen_inference_generated_tokens_total')
    assert generated < LONG, f"{generated} tokens: one was written to its end"
    return f"{generated:.0f} tokens instead of {3 * LONG}"


def is_being_written(stream):
    return any(chunk.choices[0].delta.content for chunk in stream)


def answered(client):
    try:
        return ask(client, "a").choices
    except openai.RateLimitError:
        return None


async def one(client, number, pictures):
    """The answer to request `number`, or 429. Odd ones can only answer with their number."""
    odd = number % 2 == 1
    options = dict(response_format=constant(f"number-{number}")) if odd else dict(logprobs=True)
    shown = [pictures[number % len(pictures)]] if number % 3 == 0 else []
    try:
        answer = await client.chat.completions.create(
            model=MODEL, messages=turn(f"Number {number * 7919}", *shown), max_tokens=20, temperature=0, **options
        )
    except openai.RateLimitError:
        return 429
    choice = answer.choices[0]
    if odd:
        assert choice.message.content == f'"number-{number}"', f"{number} was told {choice.message.content}"
        return choice.message.content
    return choice.message.content, tuple(token.logprob for token in choice.logprobs.content)


async def crowd(server, pictures):
    """All at once."""
    async with openai.AsyncOpenAI(**server.settings()) as client:
        return await asyncio.gather(*(one(client, number, pictures) for number in range(CONCURRENT)))


async def alone(server, pictures):
    async with openai.AsyncOpenAI(**server.settings()) as client:
        return [await one(client, number, pictures) for number in range(0, CONCURRENT, 2)]


def a_crowd_is_answered_or_sent_away(server):
    pictures = [data_url(60 + seed, 80, seed) for seed in range(4)]
    asked, least, most = 0, CONCURRENT, 0
    told = dict(zip(range(0, CONCURRENT, 2), asyncio.run(alone(server, pictures)), strict=True))
    different = len(set(told.values()))
    assert 429 not in told.values() and different >= 0.9 * len(told), f"{different} different answers"
    resident = []
    for _ in range(ROUNDS):
        outcomes = asyncio.run(crowd(server, pictures))
        assert len(outcomes) == CONCURRENT
        for number, outcome in enumerate(outcomes):
            if number in told and outcome != 429:
                assert outcome == told[number], f"{number} alone: {told[number]}; in the crowd: {outcome}"
        taken = CONCURRENT - outcomes.count(429)
        asked, least, most = asked + taken, min(least, taken), max(most, taken)
        until("the engine is idle", lambda: server.metric('prescreen_inference_requests_running') == 0)
        resident.append(server.resident_mib())
    assert sum(PLACES.values()) <= least and most < CONCURRENT, f"{least} to {most} of {CONCURRENT} were answered"
    print("RSS in MiB after each round:", *(f"{mib:.1f}" for mib in resident), file=sys.stderr)
    warm = resident[ROUNDS // 2 - 1]
    growth = max(resident[ROUNDS // 2 :]) - warm
    assert growth <= MOST_GROWTH_MIB, f"RSS grew by {growth:.1f} MiB from {warm:.0f} MiB"
    refused_so_far = server.metric('prescreen_inference_refused_total{status="429"}')
    assert refused_so_far == ROUNDS * CONCURRENT - asked, refused_so_far
    return f"{asked} of {ROUNDS * CONCURRENT} answered, each as alone ({different} different); RSS {warm:.0f} MiB, grew {growth:.1f}"


def nothing_said_is_logged(server):
    assert MARK not in server.log.read_text(errors="replace")


def main():
    binary, work = Path(sys.argv[1]), Path(sys.argv[2])
    failed = 0

    def check(name, server, body):
        nonlocal failed
        began = time.monotonic()
        try:
            said = body(server)
            print(f"ok     {name}" + (f": {said}" if said else ""))
        except Exception as error:  # noqa: BLE001 each check stands alone
            failed += 1
            print(f"FAILED {name}: {type(error).__name__}: {error}")
            traceback.print_exc()
        print(f"{name}: {time.monotonic() - began:.1f} s", file=sys.stderr)

    with Server(binary, work / "served", **PLACES, **STORES) as server:
        for name, body in {
            "openai client: models": lists_its_model,
            "openai client: chat about pictures": answers_about_a_picture,
            "openai client: a streamed answer is the answer": streams_the_same_answer,
            "openai client: parse() by a pydantic model": answers_by_schema,
            "openai client: log-probabilities": tells_log_probabilities,
            "openai client: the same seed, the same answer": same_seed_same_answer,
            "openai client: wrong key is 401": refuses_a_wrong_key,
            "openai client: too large a picture or body is 413": refuses_what_is_too_large,
            "openai client: unsupported options are named": refuses_what_it_does_not_do,
            "curl: chat, stream, wrong key, too large, no JSON": answers_curl,
            f"openai client: {CONCURRENT} at once": a_crowd_is_answered_or_sent_away,
            "model server: nothing that was said is logged": nothing_said_is_logged,
        }.items():
            check(name, server, body)
    with Server(binary, work / "one", **{"model.queue": 1, "model.running": 1}) as server:
        check("openai client: full is 429, and who leaves frees his place", server, full_queue_and_cancelling)
    print("ok     the openai client came to its end")
    sys.exit(1 if failed else 0)


main()
