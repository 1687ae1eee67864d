"""Accuracy: predictors, scores of models and of other systems' results, reports."""
