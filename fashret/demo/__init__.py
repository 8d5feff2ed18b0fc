"""A page to search a catalog on: type, drop a photo, click on."""
