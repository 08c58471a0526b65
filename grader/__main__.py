"""`python -m grader` is the `grader` command."""

import os
import sys

# Python puts the current folder first, which may be a submission with a torch.py of its own.
here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:] = [path for path in sys.path if path and path != os.getcwd() or path == here]

from grader.cli import main  # noqa: E402

main(prog_name="grader")
