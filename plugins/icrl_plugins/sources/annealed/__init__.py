"""Histories that lead from noise to one expert of the whole family: cheap, so that a hundred tasks can be had.

- `expert`: a policy that sees the task, trained once for all tasks of a family.
- `source`: its actions mixed with noise that fades along the history.
"""
