"""A worker's side: its documents, and its reports until they leave."""
