"""Product feeds as shops export them, one kind per file.

Each kind turns the rows of a file into `Offer`s: what a shop says of one variant of a product.
"""
