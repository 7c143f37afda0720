"""Where the units of a plan are made: in processes of this machine, or on the nodes of a Ray cluster.

`contract.py` is what both have in common, `worker.py` what a process does with a unit, `local.py` and `ray.py` the two
executors. On nodes without the driver's home artefacts travel as `parcels.py` packs them, into homes of `scratch.py`, after
`code.py` found that a node's code is the driver's. Nothing here decides what is made when: `runs/dispatch.py` does, from the
plan's own dependencies.
"""
