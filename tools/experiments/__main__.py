"""The command: `make experiments`."""

import sys

from project import run_tool

from experiments import main

sys.exit(run_tool("experiments", main))
