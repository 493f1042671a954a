"""A dress rehearsal: a user's own pipeline against a simulated provider, in virtual time, before it costs anything."""
