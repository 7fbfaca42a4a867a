"""The configuration: YAML files in, frozen settings out, and every problem with its file, line and column."""
