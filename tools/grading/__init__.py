"""Grade a class on one machine: `make grade`.

The judge holds tests and references and asks; a submission runs in a sandbox and answers.
"""
