"""Rewires a workflow of the earlier ELLA packs for this one; needs Python 3.9 or newer alone.

    python scripts/convert_workflow.py old.json -o new.json
    python scripts/convert_workflow.py picture.png -o new.json

Reads what the editor saves, its API format, and pictures that ComfyUI saved. Each change is a line; what the command
doesn't understand it refuses, and then writes nothing.
"""

import argparse
import os
import sys

if sys.version_info < (3, 9):  # noqa: UP036 (any Python can read this file, and says here that it can't read the others)
    found = sys.version.split()[0]
    sys.exit("This command needs Python 3.9 or newer and was run by " + found + "; run it with ComfyUI's own Python.")

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from old_workflows.errors import WorkflowError
from old_workflows.workflow_file import convert_file


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
    try:
        changes = convert_file(options.old, options.output, options.overwrite)
    except WorkflowError as error:
        sys.exit(str(error))
    for change in changes:
        print(change)


if __name__ == "__main__":
    main()
