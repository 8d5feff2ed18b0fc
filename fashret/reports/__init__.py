"""What a run leaves for people: files, tables, and the text on the screen."""
