"""Catalogs: the embeddings of a data set's items under one encoder, built once and searched."""
