"""The command line, as ``dfsq`` and as ``python -m dfsq``, which ``torchrun`` needs."""

import os
import sys


def main() -> None:
    """Run the command line and exit, also where it cannot even be imported: one line on stderr."""
    try:
        from cli.main import main as run
    except KeyboardInterrupt:
        _end("interrupted", 130)
    except ImportError as error:
        _end(f"a library that dfsq needs cannot be imported ({error}); install dfsq again", 1)
    else:
        run()


def _end(message: str, code: int) -> None:
    if sys.stderr is not None:
        sys.stderr.write(f"dfsq: {message}\n")
    sys.exit(code)


def _forget_working_folder() -> None:
    """``python -m`` looks for modules in the working folder first: a folder of the user's that is called cli, or a file
    torch.py, would be executed. A checkout that dfsq is run in stays."""
    home = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    first = os.path.realpath(sys.path[0])
    if first == os.getcwd() and first != home:
        del sys.path[0]


if __name__ == "__main__":
    _forget_working_folder()
    main()
