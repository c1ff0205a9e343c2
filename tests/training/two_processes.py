"""The run of small_runs.py, for torchrun to start in several processes."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from accelerate import PartialState  # noqa: E402
from small_runs import run_small  # noqa: E402

run_small(sys.argv[1])
if PartialState().is_main_process:
    print(PartialState().num_processes, "processes")
