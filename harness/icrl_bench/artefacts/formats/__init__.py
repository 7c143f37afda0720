"""Learning histories in the files of other programs: NumPy archives, folders of safetensors, Minari data sets."""
