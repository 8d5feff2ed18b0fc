"""What the commands and the Python interface do: objects in, objects out."""
