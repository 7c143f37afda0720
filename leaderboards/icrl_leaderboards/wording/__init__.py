"""Results in words: numbers, names, columns, cells and verdicts as text, for the terminal and the reports alike."""
