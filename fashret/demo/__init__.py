"""The demo: a web page that searches items by text, by photo, and by similar items."""
