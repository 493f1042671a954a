"""What decides whether, when and how often a request may go: budget, retries, deadlines, lanes and the gate."""
