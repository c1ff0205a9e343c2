"""Any file that can be chosen is loaded or refused in one sentence: damaged files, opened in a process of their own.

    python -m pytest tests/unit/test_fuzz_files.py --fuzz-seconds 3600

goes on for hours; --fuzz-first begins at another case.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).with_name("fuzz_files.py")
STARTS = 300  # seconds that Python may take to import everything, and the last case to be found hanging


@pytest.mark.parametrize("kind", ["connector", "encoder", "language_model", "gguf"])
def test_damaged_files_are_loaded_or_refused_in_a_sentence(kind, tmp_path, request):
    seconds = request.config.getoption("--fuzz-seconds", default=12)
    first = request.config.getoption("--fuzz-first", default=0)
    command = [sys.executable, str(FUZZ), kind, str(seconds), str(tmp_path / kind), str(first)]
    # Into a file, since what crashes the process leaves its last words there.
    with open(tmp_path / "log.txt", "w+") as log:
        status = subprocess.run(
            command, stdout=log, stderr=subprocess.STDOUT, timeout=seconds + STARTS + 300
        ).returncode
        log.seek(0)
        lines = log.read().splitlines()
    assert status == 0, "\n".join([f"the files are in {tmp_path / kind}", *lines[-40:]])
    cases, loaded = map(int, re.fullmatch(r"(\d+) cases, (\d+) loaded", lines[-1]).groups())
    assert 0.05 * cases < loaded < 0.5 * cases or cases < 100  # neither all sound nor all refused at the first look
