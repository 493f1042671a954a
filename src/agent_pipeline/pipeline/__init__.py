"""Documents through stages: the stage protocol, one task per document, admission, stopping."""
