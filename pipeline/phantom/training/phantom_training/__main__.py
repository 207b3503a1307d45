"""`python -m phantom_training STEP…`: render, vision, language, export, evaluate; see ../README.md."""

import argparse
from pathlib import Path

from . import checkpoint, language_stage, recipe, vision_stage, workers


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("steps", nargs="+", choices=["render", "vision", "language", "export", "evaluate"])
    parser.add_argument("--work", type=Path, required=True, help="folder for data and weights, about 1 GB")
    parser.add_argument("--example", type=Path, help="the built example training_data, for `render`")
    parser.add_argument("--checkpoint", type=Path, default=recipe.CHECKPOINT)
    parser.add_argument("--made", default="", help="hardware, time and date, for the model card")
    given = parser.parse_args()
    data, seen, read = given.work / "data", given.work / "vision.pt", given.work / "language.pt"
    given.work.mkdir(parents=True, exist_ok=True)
    for step in given.steps:
        if step == "render":
            from . import render

            if given.example is None:
                parser.error("render needs --example")
            render.main(given.example, data)
        elif step == "vision":
            workers.run(vision_stage.train, data, seen)
        elif step == "language":
            workers.run(language_stage.train, data, seen, read)
        elif step == "export":
            checkpoint.export(read, given.checkpoint)
        else:
            from . import evaluate

            evaluate.main(given.checkpoint, data, given.made)


if __name__ == "__main__":
    main()
