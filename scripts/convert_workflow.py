"""Rewires a workflow of the earlier ELLA packs for this one; needs Python alone.

    python scripts/convert_workflow.py old.json -o new.json
    python scripts/convert_workflow.py picture.png -o new.json

Reads what the editor saves, its API format, and pictures that ComfyUI saved. Each change is a line; what the command
doesn't understand it refuses, and then writes nothing.
"""

import argparse
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

PACK = Path(__file__).resolve().parents[1]


def load_converter():
    """The core's converter, without what else the core's package imports, so that torch is not needed."""
    spec = ModuleSpec("ella_core", None, is_package=True)
    spec.submodule_search_locations = [str(PACK / "ella_core")]
    sys.modules["ella_core"] = importlib.util.module_from_spec(spec)
    from ella_core.errors import ELLAError
    from ella_core.legacy.workflow_file import convert_file

    return convert_file, ELLAError


def main():
    summary, _, text = __doc__.partition("\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", help="the old workflow, a .json file or a .png picture")
    parser.add_argument("-o", "--output", required=True, metavar="new.json", help="where the new workflow goes")
    parser.add_argument("--overwrite", action="store_true", help="write over a file that is there, be it the old one")
    options = parser.parse_args()
    sys.stdout.reconfigure(errors="replace")  # node types may hold what a Windows console can't show
    convert_file, refusal = load_converter()
    try:
        changes = convert_file(options.old, options.output, options.overwrite)
    except refusal as error:
        sys.exit(str(error))
    for change in changes:
        print(change)


if __name__ == "__main__":
    main()
