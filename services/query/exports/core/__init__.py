"""Pure: no input or output, no clock, no randomness; an import rule in pyproject.toml holds it."""
