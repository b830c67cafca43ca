"""The command: `make benchmark`."""

import sys

from project import run_tool

from benchmark import main

sys.exit(run_tool("benchmark", main))
