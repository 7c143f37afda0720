"""Where random numbers come from, the same way for sources, networks and methods.

- `seeds`: from one seed to others, without counting calls.
- `torch_generators`: torch generators of a run, lent to code that only knows the default one.
- `task_streams`: K NumPy streams drawn from together, one a task.
- `global_generators`: the process's shared generators, seeded for a library that knows no others, and put back.
"""
