"""The model card, with the numbers of `evaluate`."""

from . import language_stage, recipe, vision_stage

CARD = """# phantom

A small `Glm4v` ({parameters:,} parameters, f16) trained only on prescreen's own synthetic phantoms. **Synthetic. Not for
patients. No clinical meaning.** It answers studies marked synthetic and no others; whatever it says is tagged `SYNTHETIC`.
It shows the product whole with an honest model: a real checkpoint, read by the real engine, with errors that can be measured.

| what | score | a constant answer |
|---|---|---|
| ejection fraction, mean absolute error, points | **{ef[ef_mae]}** (of {ef[ef_n]} beats) | {ef[ef_mae_constant_45]} (always 45 %) |
| – the single likeliest number | {ef[ef_mae_greedy]} | |
| – median, 90 %, 99 % of the errors | {errors} | |
| – band (≤ 40, 41–49, ≥ 50 %) | {band} | {band_most} |
| – 90 % interval of its own tokens, uncalibrated | covers {covers}, {ef[ef_token_interval_90][mean_width]} points wide | |
| view, of five, any quality | **{view}** (of {ef[view][n]} beats) | {view_most} |
| – where quality is good or fair | {view_usable} | |
| quality, of three | {quality} | {quality_most} |
| declines a number though the picture allows it | {declined_wrongly} | |
| declines where it must: not apical, or poor | {declined_rightly} | |
| tile: tissue, of three | {tissue} (of {path[tissue][n]} tiles) | {tissue_most} |
| tile: nuclei, of three | {nuclei} | {nuclei_most} |
| tile: artefact, of four and none | {artefact} | {artefact_most} |
| – by artefact | {by_artefact} | |
| tile: quality, of three | {tile_quality} | {tile_quality_most} |

On phantoms of seeds that training never saw: echo studies {echo_test}, tiles {path_test}. Beats are frames of the truth's
plateaus, one in ten a frame beside them; corruptions as `examples/training_data` draws them. English prompts; Chinese ones
agree within the noise of a smaller sample (ejection fraction {zh[ef_mae]}, view {zh_view}).

## What it cannot do

- Anything with a patient's picture. Phantoms have one kind of heart, one kind of speckle and no disease.
- `pale` tiles: the pipeline normalises the stain before the model sees it. Lymphoid tissue: no phantom has any.
- Findings other than `LV_SYSTOLIC_FUNCTION_REDUCED` (ejection fraction of at most {reduced:.0f} %): none was shown to it.
- Other prompts. Each turn of `config/prompts/*.md` is a token of its own; a changed prompt needs stage 2 again.
- Rank its own errors: its certainty is that of tokens. Calibrate, and look at geometry and at the spread of beats.

## Input and output

One beat as a video of two frames, end diastole and end systole (`"presentation": "beats"`), 112 × 140 pixels, 20 vision
tokens; or one normalised H&E tile of 168 × 168 pixels, 36 vision tokens. Out comes the one-line form that the prompt asks for.
Digits and punctuation marks are single tokens, so that the numbers 0 to 100 can be scored behind any beginning of the form.

## How it was made

`pipeline/phantom/training` (README there; every number in `recipe.py` and the two stages). Training studies {echo_train}, tiles
{path_train}, two pairs of frames a loop. Stage 1 (vision tower with linear heads): {vision_steps} steps of {vision_batch} beats and
{vision_tiles} tiles; stage 2 (the whole model, loss on the answer): rounds of {rounds} steps of {text_batch} and {text_tiles}; label
jitter of 1 point. Made from the weights up, without any other model. {made}

License: the repository's. Nothing in it comes from a patient or from another model.
"""


def percent(value):
    return f"{100 * value:.1f} %"


def seeds(split):
    return f"{split.first} to {split.first + split.count - 1}"


def text(report, made):
    """`report` as `evaluate` gives it; `made`: hardware, time and date, one or two sentences."""
    ef, zh, path = report["echo.en"], report["echo.zh"], report["pathology.en"]
    shares = {"band": ef["ef_band"], "view": ef["view"], "quality": ef["quality"], "tile_quality": path["quality"]}
    shares |= {field: path[field] for field in ("tissue", "nuclei", "artefact")}
    found = {name: percent(share["right"]) for name, share in shares.items()}
    found |= {f"{name}_most": percent(share["most_frequent"]) for name, share in shares.items()}
    rounds = [str(steps) for steps, _ in language_stage.ROUNDS]
    return CARD.format(
        parameters=report["parameters"],
        ef=ef,
        zh=zh,
        path=path,
        errors=", ".join(map(str, ef["ef_error_quantiles_50_90_99"])),
        covers=percent(ef["ef_token_interval_90"]["coverage"]),
        view_usable=percent(ef["view_good_or_fair"]["right"]),
        zh_view=percent(zh["view"]["right"]),
        declined_wrongly=percent(ef["declined_though_readable"]),
        declined_rightly=percent(ef["declined_where_it_must"]),
        by_artefact=", ".join(f"{kind} {percent(v)}" for kind, v in path["artefact_by_class"].items()),
        echo_train=seeds(recipe.ECHO["train"]),
        echo_test=seeds(recipe.ECHO["test"]),
        path_train=seeds(recipe.PATHOLOGY["train"]),
        path_test=seeds(recipe.PATHOLOGY["test"]),
        reduced=recipe.REDUCED_EF,
        vision_steps=vision_stage.STEPS["steps"],
        vision_batch=vision_stage.STEPS["echo"],
        vision_tiles=vision_stage.STEPS["pathology"],
        rounds=" and ".join(rounds),
        text_batch=language_stage.STEPS["echo"],
        text_tiles=language_stage.STEPS["pathology"],
        made=made,
        **found,
    )
