"""Items: where they come from, the table they are prepared into, and the batches made of them."""
