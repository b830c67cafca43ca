"""The problem sets: from one master a set to all that students and instructors get.

`python -m problem_sets [SET ...]` builds what `make problem-sets` promises, `python -m
problem_sets.public_tree OUT` what `make public-tree` does, and `python -m problem_sets.gate FOLDER`
looks for what must not be in a folder that students see.
"""
