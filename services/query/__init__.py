"""The query service: reads the latest state back, shows it, and hands it over as files."""
