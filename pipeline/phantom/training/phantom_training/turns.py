"""The tokens of a question and its answer, and what the model makes of them."""

import torch

from . import data, recipe, wording

# Points (SD) by which the ejection fraction of an answer is moved before rounding.
LABEL_JITTER = 1.0


class Turns:
    """The tokens around the pictures of each kind in each language, and positions as transformers counts them."""

    def __init__(self, built, tok, processor):
        self.built, self.tok = built, tok
        self.end = tok.convert_tokens_to_ids("<|user|>")
        self.picture = tok.convert_tokens_to_ids("<|image|>")
        self.prompts = {
            (kind, language): self.prompt(processor, kind, language)
            for kind in wording.PICTURES
            for language in wording.LANGUAGES
        }

    def prompt(self, processor, kind, language):
        """Ids up to the answer, with one placeholder for each vision token."""
        system, user = wording.turns(kind, language)
        media = {"type": "video"} if kind == "echo" else {"type": "image"}
        messages = [
            {"role": "system", "content": [{"type": "text", "text": system}]},
            {"role": "user", "content": [media, {"type": "text", "text": user}]},
        ]
        rendered = processor.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        size = recipe.BEAT_SIZE if kind == "echo" else recipe.TILE_SIZE
        tokens = (size[0] // 28) * (size[1] // 28)
        group = f"<|begin_of_image|>{'<|image|>' * tokens}<|end_of_image|>"
        if kind == "echo":
            text = rendered.replace("<|video|>", f"{group}0.0 seconds")
        else:
            text = rendered.replace("<|image|>", "<|image|>" * tokens)
        return self.tok.encode(text, add_special_tokens=False)

    def batch(self, kind, truths, rng):
        """(ids, labels, positions), padded on the right; labels are -100 outside the answer and its end."""
        rows = []
        for truth in truths:
            language = wording.LANGUAGES[int(torch.randint(len(wording.LANGUAGES), (1,), generator=rng))]
            jitter = LABEL_JITTER * torch.randn(1, generator=rng).item()
            answer = self.tok.encode(data.answer(kind, truth, jitter), add_special_tokens=False)
            rows.append((self.prompts[kind, language], [*answer, self.end]))
        longest = max(len(prompt) + len(answer) for prompt, answer in rows)
        pad = self.tok.pad_token_id
        ids = torch.full((len(rows), longest), pad)
        labels = torch.full((len(rows), longest), -100)
        for i, (prompt, answer) in enumerate(rows):
            filled = torch.tensor(prompt + answer)
            ids[i, : len(filled)] = filled
            labels[i, len(prompt) : len(filled)] = filled[len(prompt) :]
        return ids, labels, self.positions(kind, ids)

    def positions(self, kind, ids):
        """[3, batch, length]; everything before the pictures is equally long in every row of a kind and language, and
        all that follows counts on, so positions are those of one picture in running text."""
        height, width = (side // 28 for side in (recipe.BEAT_SIZE if kind == "echo" else recipe.TILE_SIZE))
        found = torch.zeros(3, *ids.shape, dtype=torch.long)
        for i, row in enumerate(ids):
            first = int((row == self.picture).nonzero()[0])
            tokens = height * width
            after = first + max(height, width)
            found[:, i, :first] = torch.arange(first)
            found[0, i, first : first + tokens] = first
            found[1, i, first : first + tokens] = first + torch.arange(height).repeat_interleave(width)
            found[2, i, first : first + tokens] = first + torch.arange(width).repeat(height)
            rest = ids.shape[1] - first - tokens
            found[:, i, first + tokens :] = after + torch.arange(rest)
        return found

    def logits(self, tokens, ids, positions, wanted):
        """Logits at the places before `wanted`, flat."""
        text = self.built.model.language_model
        embedded = text.embed_tokens(ids)
        at = (ids == self.picture).unsqueeze(-1)
        embedded = embedded.masked_scatter(at, tokens.to(embedded.dtype))
        # Padding stands on the right, where causal attention never looks.
        hidden = text(inputs_embeds=embedded, position_ids=positions, use_cache=False).last_hidden_state
        return self.built.lm_head(hidden[:, :-1][wanted[:, 1:] != -100])
