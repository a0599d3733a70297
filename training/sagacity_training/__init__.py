"""Turns the dataset into a bundle, and judges it by the decisions it causes."""
