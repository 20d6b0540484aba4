"""What a model is worth on a split: loss, metric and score, of the whole or of parts."""
