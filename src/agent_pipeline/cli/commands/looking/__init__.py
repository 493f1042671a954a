"""Looking at what happened, and giving it to others: tables, pages, figures."""
