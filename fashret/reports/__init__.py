"""Reports of a run: result files, tables, HTML pages, and the text on the screen."""
