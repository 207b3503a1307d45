"""Every number of the recipe: seeds, sizes, the model, both stages."""

from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[4]
PROMPTS = REPOSITORY / "config" / "prompts"
CHECKPOINT = REPOSITORY / "stages" / "inference" / "glm46v" / "checkpoints" / "phantom"
CHAT_TEMPLATE = REPOSITORY / "stages" / "inference" / "glm46v" / "fixtures" / "chat_template.jinja"


@dataclass(frozen=True)
class Split:
    """Studies `first .. first + count`: study i is a phantom of its own, so splits share no heart and no tissue."""

    first: int
    count: int


ECHO = {
    "train": Split(1_000_000_000, 10_000),
    "validation": Split(2_000_000_000, 600),
    "test": Split(3_000_000_000, 1_000),
}
PATHOLOGY = {
    "train": Split(1_100_000_000, 4_000),
    "validation": Split(2_100_000_000, 250),
    "test": Split(3_100_000_000, 400),
}

# Budgets of smart_resize, frames x height x width with two frames. A beat of any sector from 1.05 to 1.49 times as wide
# as high becomes 112 x 140 (20 vision tokens); a square tile becomes 168 x 168 (36 vision tokens).
VIDEO_PIXELS = {"shortest_edge": 12_544, "longest_edge": 37_400}
IMAGE_PIXELS = {"shortest_edge": 12_544, "longest_edge": 62_000}
BEAT_SIZE = (112, 140)
TILE_SIZE = (168, 168)
PATCH, MERGE = 14, 2

VIEWS = ["A4C", "A2C", "PLAX", "PSAX", "SUBCOSTAL"]
APICAL = {"A4C", "A2C"}
QUALITIES = ["good", "fair", "poor"]
TISSUES = ["glandular", "stromal", "solid"]
NUCLEI = ["low", "moderate", "high"]
# Nuclei in a million pixels of tissue (0.25 mm2) from which they lie moderately and densely.
NUCLEI_LIMITS = (800.0, 1500.0)
ARTEFACTS = [None, "blur", "pen", "fold", "pale"]

# LV_SYSTOLIC_FUNCTION_REDUCED up to this ejection fraction (universal definition of heart failure, 2021).
REDUCED_EF = 40.0

TEXT = dict(
    hidden_size=128,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=384,
    rope_parameters=dict(rope_type="default", rope_theta=10_000.0, partial_rotary_factor=0.5, mrope_section=[2, 3, 3]),
)
VISION = dict(hidden_size=96, depth=4, num_heads=3, intermediate_size=384, out_hidden_size=128, image_size=140)
CONTEXT = 4096

THREADS = 2
SEED = 20_261_121
