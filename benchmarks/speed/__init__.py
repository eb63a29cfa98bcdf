"""How fast it is: constrained decoding, search error, and queries per second against the size of the gallery (Figure 4)."""
