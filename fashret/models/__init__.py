"""Models: an open_clip backbone and linear heads that begin as its own projections."""
