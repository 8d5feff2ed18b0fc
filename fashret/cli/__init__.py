"""The commands: each file is one, the root scripts are their faces."""
