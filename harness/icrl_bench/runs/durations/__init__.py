"""How long a plan will take, before any of it runs: work left over × speed, stage by stage.

A speed is that of this home's own earlier stages where there are any (`own`); else that of a table of other stages that comes
with the package (`table`), scaled to this machine by a calibration of a second (`calibration`); else it is not known, and a
total says "at least".
"""
