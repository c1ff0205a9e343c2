"""The command line: python -m training ..., python -m training --resume RUN, python -m training cache ...

`cache` is a module of this package with `Options`, a dataclass whose comments are the help text, and `run(options)`.
Whatever is slow to import is imported where it is used.
"""

from __future__ import annotations

import importlib
import sys

from ella_core.errors import ELLAError

COMMANDS = {
    "cache": "encode pictures and captions once, so that a training has neither VAE nor language model in memory"
}


def main(arguments):
    """Runs one command; returns the exit status."""
    name = arguments[0] if arguments and arguments[0] in COMMANDS else ""
    if not name and arguments and not arguments[0].startswith("-"):
        print(f"training: {arguments[0]} is no command; begin with an option such as --preset, or with one of:")
        print("\n".join(f"  {command:<10} {text}" for command, text in COMMANDS.items()))
        return 2
    try:
        if name:
            import tyro

            command = importlib.import_module(f".{name}", __package__)
            command.run(tyro.cli(command.Options, args=arguments[1:], prog=f"python -m training {name}"))
        else:
            from .command import read_command
            from .start import start

            start(read_command(arguments))
    except ModuleNotFoundError as error:
        print(f"training: {error.name} is not installed; run `pip install .[training]` in the clone.", file=sys.stderr)
        return 1
    except ELLAError as error:
        print(f"training: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("training: stopped; the same command, or --resume with the run's folder, goes on.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
