"""Model and attack code that the dataset folders share; docs/architecture.md is its map."""

__version__ = "0.17.0"
