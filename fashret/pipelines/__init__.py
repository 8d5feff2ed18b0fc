"""Pipelines: train, evaluate, search, export and more, from option objects to result objects."""
