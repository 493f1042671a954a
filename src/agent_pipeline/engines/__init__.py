"""How the documents of a run are spread over workers: shards, fences, leases, and what travels between them."""
