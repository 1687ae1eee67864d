"""The way of the data, one file per step, numbered in the order a frame passes them."""
