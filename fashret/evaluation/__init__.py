"""Evaluation of retrieval: rankings, metrics, intervals, comparisons and published benchmarks."""
