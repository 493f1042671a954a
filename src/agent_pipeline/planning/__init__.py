"""What a run would need, before it begins: counted, bounded, and estimated by what earlier runs needed."""
