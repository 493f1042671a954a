"""The way to the providers: pool and transport owned by Trio, instrumented OpenAI clients, direct calls by role."""
