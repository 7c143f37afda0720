"""The content hash of a component: canonical code, and the set of modules behind a class."""
