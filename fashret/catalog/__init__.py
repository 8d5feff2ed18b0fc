"""Catalogs: the stored embeddings of a data set's items, built once by one encoder."""
