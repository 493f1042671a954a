"""The driver's side: documents out to workers, what they report into ledger and artifacts."""
