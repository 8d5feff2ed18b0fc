"""Models: an open_clip backbone and linear heads that are initialised with its projections."""
