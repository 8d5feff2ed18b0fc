"""Batches of items: which rows, in which order, with which photos and texts."""
