"""DPG-Bench, the paper's own benchmark (section 4): 1,065 dense prompts, 14,392 questions in a graph."""

from .question_csv import find_file, read_question_csv
from .suite import Suite

SOURCE = (
    "DPG-Bench is dpg_bench/dpg_bench.csv of github.com/TencentQQGYLab/ELLA (commit 3c228f1, Apache-2.0); download it "
    "and give it, or its folder, as --data."
)
PUBLISHED = "98457fc9901943f51ff9a30367250fc292533bed"  # git blob hash


def load(data, categories=()):
    """The suite from the CSV, or from the folder that holds it."""
    prompts, remarks = read_question_csv(find_file(data, "dpg_bench.csv"), PUBLISHED)
    return Suite("dpg_bench", prompts, "graph", SOURCE, remarks)
