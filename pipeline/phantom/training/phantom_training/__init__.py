"""Trains the phantom checkpoint: a small Glm4v that reads our synthetic phantoms. See ../README.md."""
