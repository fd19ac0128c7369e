"""lm-eval both ways: our policies as its model (``model``), its runs as our results (``samples``)."""
