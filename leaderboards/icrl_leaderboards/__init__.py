"""The results: what a run leaves behind, how it is stored, what may be said of it, and how it is shown."""
