"""DSG-1k (arXiv 2310.18235): 1,060 prompts of many sources, 8,182 questions in the format of DPG-Bench."""

from .question_csv import find_file, read_question_csv
from .suite import Suite

SOURCE = (
    "DSG-1k is dsg/data/dsg-1k-anns.csv of github.com/j-min/DSG (Apache-2.0); download it and give it, or its folder, "
    "as --data."
)
PUBLISHED = "b1b097f09ec4b36546b7266492b386a742ec5790"  # git blob hash


def load(data, categories=()):
    """The suite from the CSV, or from the folder that holds it."""
    prompts, remarks = read_question_csv(find_file(data, "dsg-1k-anns.csv", "dsg1k.csv"), PUBLISHED)
    return Suite("dsg1k", prompts, "graph", SOURCE, remarks)
