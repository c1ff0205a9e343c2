"""The command line: python -m evaluation COMMAND ...

Each command is a module of this package under the command's name. It has `Options`, a frozen dataclass whose docstring
and comments are the help text, and `run(options)`. Whatever is slow to import is imported inside `run`.
"""

from __future__ import annotations

import importlib
import sys

from .errors import EvaluationError

COMMANDS = {
    "generate": "draw the prompts of a suite with a workflow, on one or many ComfyUI servers",
    "judge": "let a model answer the suite's questions on each picture",
    "score": "turn answers into scores, by the official or the corrected rule",
    "report": "put one or several runs on a page",
    "study": "let people compare the pictures of two or three runs in a browser",
}


def main(arguments):
    """Runs one command; returns the exit status."""
    name = arguments[0] if arguments else ""
    if name not in COMMANDS:
        print("usage: python -m evaluation COMMAND --help\n")
        print("\n".join(f"  {command:<10} {text}" for command, text in COMMANDS.items()))
        return 0 if name in ("-h", "--help") else 2
    import tyro

    command = importlib.import_module(f".{name}", __package__)
    try:
        command.run(tyro.cli(command.Options, args=arguments[1:], prog=f"python -m evaluation {name}"))
    except EvaluationError as error:
        print(f"evaluation: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("evaluation: stopped; the same command goes on from here.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
