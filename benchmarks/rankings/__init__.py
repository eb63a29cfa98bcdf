"""Rankings, one by one: a query of one's own, TREC files in and out, systems of others, two results against each other."""
