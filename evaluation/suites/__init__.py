"""The benchmarks, one file each; `load_suite` opens one by name."""

import dataclasses
import importlib
from pathlib import Path

from ..errors import EvaluationError

NAMES = ("dpg_bench", "dsg1k", "t2i_compbench", "geneval", "geneval2", "custom")


def load_suite(name, data, categories=(), limit=0):
    """The Suite `name` from the user's data (a path).

    `categories` are tasks of t2i_compbench or geneval (none: all that are there); a `limit` keeps the first prompts
    and says so in a remark. EvaluationError where the name or the data are wrong.
    """
    if name not in NAMES:
        raise EvaluationError(f"there is no suite {name}; there are {', '.join(NAMES)}.")
    if categories and name not in ("t2i_compbench", "geneval"):
        raise EvaluationError(f"{name} has no categories to choose from; leave --categories away.")
    module = importlib.import_module(f".{name}", __package__)
    if not Path(data).exists():
        raise EvaluationError(f"{data} is not there. {module.SOURCE}")
    suite = module.load(data, tuple(categories))
    if 0 < limit < len(suite.prompts):
        remark = f"only the first {limit} of {len(suite.prompts)} prompts"
        suite = dataclasses.replace(suite, prompts=suite.prompts[:limit], remarks=(*suite.remarks, remark))
    return suite
