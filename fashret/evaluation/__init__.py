"""torchmetrics classes over `functional`, and what an evaluation reports."""
