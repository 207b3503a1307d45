"""Answers read as the inference stage reads them: token by token along the form, the ejection fraction as the distribution
over the numbers 0 to 99 after the model's own view and quality."""

import json

import numpy as np
import torch

from . import model, recipe

# Probability of a first digit below which no second one is asked for.
NEGLIGIBLE = 1e-5


class Reader:
    """Asks the model about a batch of pictures of one kind."""

    def __init__(self, built, turns):
        self.turns, self.tok = turns, turns.tok
        self.towers = {"echo": model.Tower(built, recipe.BEAT_SIZE), "pathology": model.Tower(built, recipe.TILE_SIZE)}

    def following(self, kind, language, tokens, texts):
        """Log-probabilities of the token after the prompt and each of `texts`, an answer's beginning per picture."""
        prompt = self.turns.prompts[kind, language]
        rows = [prompt + self.tok.encode(text, add_special_tokens=False) for text in texts]
        longest = max(map(len, rows)) + 1
        ids = torch.full((len(rows), longest), self.tok.pad_token_id)
        wanted = torch.full((len(rows), longest), -100)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
            wanted[i, len(row)] = 0
        return self.turns.logits(tokens, ids, self.turns.positions(kind, ids), wanted).log_softmax(-1)

    def choose(self, kind, language, tokens, texts, words):
        """The likeliest of `words` after the beginnings `texts`, for each picture."""
        spelt = [self.tok.encode(word, add_special_tokens=False) for word in words]
        first = self.following(kind, language, tokens, texts)
        scores = torch.stack([first[:, ids[0]] for ids in spelt], -1)
        for word, ids in enumerate(spelt):
            for place in range(1, len(ids)):
                # What follows only matters beside another word that begins alike.
                if sum(other[:place] == ids[:place] for other in spelt) > 1:
                    so_far = self.tok.decode(ids[:place])
                    after = self.following(kind, language, tokens, [text + so_far for text in texts])
                    scores[:, word] += after[:, ids[place]]
        return [words[i] for i in scores.argmax(-1)]

    def choose_string(self, kind, language, tokens, texts, words):
        """As `choose`, where null may stand in the place of a word in quotes; gives the value as JSON writes it."""
        kinds = self.choose(kind, language, tokens, texts, ['"', "null"])
        found = self.choose(kind, language, tokens, [text + '"' for text in texts], words)
        return [f'"{word}"' if one == '"' else "null" for one, word in zip(kinds, found)]

    def numbers(self, language, tokens, texts):
        """Probabilities [batch, 101]: 0 to 99, then null. What is missing to 1 is no number."""
        digit = torch.tensor([self.tok.convert_tokens_to_ids(str(d)) for d in range(10)])
        null = self.tok.convert_tokens_to_ids("null")
        comma = self.tok.convert_tokens_to_ids(",")
        first = self.following("echo", language, tokens, texts).exp()
        found = torch.zeros(len(texts), 101)
        found[:, 100] = first[:, null]
        for ten in range(10):
            # Where the first digit is out of the question, so is what follows it.
            rows = torch.nonzero(first[:, digit[ten]] > NEGLIGIBLE).flatten()
            if len(rows):
                texts_on = [texts[i] + str(ten) for i in rows]
                after = self.following("echo", language, tokens[rows], texts_on).exp()
                found[rows, ten] += first[rows, digit[ten]] * after[:, comma]
                if ten:
                    found[rows, 10 * ten : 10 * ten + 10] += first[rows, digit[ten], None] * after[:, digit]
        return found

    def echo(self, language, pictures):
        tokens = self.towers["echo"](pictures.float())
        texts = ['{"view":'] * len(pictures)
        kinds = self.choose_string("echo", language, tokens, texts, ["A", "PLAX", "PSAX", "SUBCOSTAL", "OTHER"])
        chambers = self.choose("echo", language, tokens, ['{"view":"A'] * len(pictures), ["4", "2"])
        views = [f'"A{c}C"' if kind == '"A"' else kind for kind, c in zip(kinds, chambers)]
        texts = [f'{{"view":{view},"quality":"' for view in views]
        quality = self.choose("echo", language, tokens, texts, recipe.QUALITIES)
        texts = [f'{text}{q}","lvef_percent":' for text, q in zip(texts, quality)]
        numbers = self.numbers(language, tokens, texts)
        return [{"view": json.loads(v), "quality": q, "numbers": n.numpy()} for v, q, n in zip(views, quality, numbers)]

    def pathology(self, language, pictures):
        tokens = self.towers["pathology"](pictures.float())
        texts = ['{"tissue":'] * len(pictures)
        tissue = self.choose_string("pathology", language, tokens, texts, [*recipe.TISSUES, "lymphoid", "other"])
        texts = [f'{{"tissue":{one},"nuclei":"' for one in tissue]
        nuclei = self.choose("pathology", language, tokens, texts, recipe.NUCLEI)
        texts = [f'{text}{one}","artefact":' for text, one in zip(texts, nuclei)]
        artefact = self.choose_string("pathology", language, tokens, texts, recipe.ARTEFACTS[1:])
        texts = [f'{text}{one},"quality":"' for text, one in zip(texts, artefact)]
        quality = self.choose("pathology", language, tokens, texts, recipe.QUALITIES)
        return [
            {"tissue": json.loads(t), "nuclei": n, "artefact": json.loads(a), "quality": q}
            for t, n, a, q in zip(tissue, nuclei, artefact, quality)
        ]


def expected(numbers):
    return float((numbers[:100] * np.arange(100)).sum() / numbers[:100].sum())
