"""The commands of `afterword`, a module each.  `services.cli` is their table."""
