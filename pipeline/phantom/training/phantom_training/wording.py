"""Everything that is text: prompts, answers, the tokenizer.

Prompts are fixed text, so each turn of each prompt file is one token, or two around the list of pictures: a prompt of a
thousand bytes costs five tokens, which is most of what makes so small a model fast. Everything else is byte-level BPE
whose pieces are words, single digits and single punctuation marks: an answer cut anywhere a reader would cut it (after a
colon, inside quotes, before a digit) is cut between two tokens, so that any beginning and any continuation of an answer
can be scored.
"""

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from . import recipe

# The 36 tokens of the GLM-4.5 family in the order of their ids; False marks those that stay visible in text.
GLM_TOKENS = [
    ("<|endoftext|>", True), ("[MASK]", True), ("[gMASK]", True), ("[sMASK]", True), ("<sop>", True), ("<eop>", True),
    ("<|system|>", True), ("<|user|>", True), ("<|assistant|>", True), ("<|observation|>", True),
    ("<|begin_of_image|>", True), ("<|end_of_image|>", True), ("<|begin_of_video|>", True), ("<|end_of_video|>", True),
    ("<|begin_of_audio|>", True), ("<|end_of_audio|>", True),
    ("<|begin_of_transcription|>", True), ("<|end_of_transcription|>", True),
    ("<|code_prefix|>", True), ("<|code_middle|>", True), ("<|code_suffix|>", True),
    ("<think>", False), ("</think>", False), ("<tool_call>", False), ("</tool_call>", False),
    ("<tool_response>", False), ("</tool_response>", False),
    ("<arg_key>", False), ("</arg_key>", False), ("<arg_value>", False), ("</arg_value>", False), ("/nothink", False),
    ("<|begin_of_box|>", True), ("<|end_of_box|>", True), ("<|image|>", True), ("<|video|>", True),
]  # fmt: skip

PIECES = r"\d|[\p{L}_]+|\s+|."
PICTURES = {"echo": "1. ED and ES", "pathology": "1. tile"}
LANGUAGES = ["en", "zh"]
FINDINGS = [
    "LV_SYSTOLIC_FUNCTION_REDUCED", "REGIONAL_WALL_MOTION_ABNORMAL", "LV_DILATED", "LV_WALL_THICKENED", "LA_DILATED",
    "RV_DILATED", "RA_DILATED", "PERICARDIAL_EFFUSION",
]  # fmt: skip


def prompt(kind, language):
    """(system, user) of a prompt file, as the stage reads it."""
    text = (recipe.PROMPTS / f"{kind}.{language}.md").read_text()
    head, user = text.split("\n# user\n")
    system = head.removeprefix("# system\n").strip()
    return system, user.strip()


def turns(kind, language):
    """(system, user), the user's with the list of pictures in its place."""
    system, user = prompt(kind, language)
    return system, user.replace("{pictures}", PICTURES[kind])


def fixed(kind, language):
    """The parts of a prompt that are one token each."""
    system, user = prompt(kind, language)
    before, after = user.split("{pictures}")
    return [system, before.strip(), PICTURES[kind], after.strip()]


def quoted(word):
    return "null" if word is None else f'"{word}"'


def echo_answer(view, quality, lvef):
    findings = '"LV_SYSTOLIC_FUNCTION_REDUCED"' if lvef is not None and lvef <= recipe.REDUCED_EF else ""
    number = "null" if lvef is None else str(lvef)
    return f'{{"view":{quoted(view)},"quality":"{quality}","lvef_percent":{number},"findings":[{findings}]}}'


def pathology_answer(tissue, nuclei, artefact, quality):
    return f'{{"tissue":{quoted(tissue)},"nuclei":"{nuclei}","artefact":{quoted(artefact)},"quality":"{quality}"}}'


def corpus():
    """What the merges are learned from: all words of all forms, and the prompts."""
    for view in [*recipe.VIEWS, "OTHER", None]:
        for quality in recipe.QUALITIES:
            yield echo_answer(view, quality, 10)
            yield echo_answer(view, quality, None)
    yield from (f'["{finding}"]' for finding in FINDINGS for _ in range(9))
    for tissue in [*recipe.TISSUES, "lymphoid", "other", None]:
        for nuclei in recipe.NUCLEI:
            for artefact in recipe.ARTEFACTS:
                yield from (pathology_answer(tissue, nuclei, artefact, q) for q in recipe.QUALITIES)
    for kind in PICTURES:
        for language in LANGUAGES:
            yield from turns(kind, language)
    yield from ["0.0 seconds", "\n\n", *PICTURES.values()] * 9


def tokenizer():
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tok.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=640, min_frequency=9, initial_alphabet=alphabet, show_progress=False)
    tok.train_from_iterator(corpus(), trainer)
    for text, special in GLM_TOKENS:
        added = AddedToken(text, normalized=False, special=special)
        (tok.add_special_tokens if special else tok.add_tokens)([added])
    parts = dict.fromkeys(part for kind in PICTURES for language in LANGUAGES for part in fixed(kind, language))
    tok.add_tokens([AddedToken(part, normalized=False, special=False) for part in parts])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tok, eos_token="<|endoftext|>", pad_token="<|endoftext|>", padding_side="left"
    )
    fast.image_token, fast.video_token = "<|image|>", "<|video|>"
    fast.image_token_id = fast.convert_tokens_to_ids("<|image|>")
    fast.video_token_id = fast.convert_tokens_to_ids("<|video|>")
    return fast
