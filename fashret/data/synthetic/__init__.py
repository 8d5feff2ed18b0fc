"""Garments that the project draws itself: a catalog of its own, without a network.

`garments` says what there is and how often, `draw` makes the photos, `captions` the sentences.
Light to import: the processes that draw need no torch.
"""
