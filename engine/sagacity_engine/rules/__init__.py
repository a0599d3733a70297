"""The rules of a definition: each refuses what breaks it, naming the value and the way out."""
