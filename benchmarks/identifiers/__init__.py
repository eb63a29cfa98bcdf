"""What identifiers are like: the identifier report (`codes`) and the pairs of Figure 5."""
