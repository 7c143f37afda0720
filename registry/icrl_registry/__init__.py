"""The contract: what a plugin is, how plugins are found, and which protocols results are comparable under."""

__version__ = "0.1.0"
