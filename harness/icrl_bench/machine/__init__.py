"""What a run has under it: worker processes, cores, settings of the CPU, progress on the terminal, and what was used."""
