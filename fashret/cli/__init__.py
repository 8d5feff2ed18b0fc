"""The command line: one file per command of `fashret`, and what they share."""
