"""The commands as users see them: names, arguments, flags, help; what they do is in `commands`, imported at its use.

One module for each panel of `agent-pipeline --help`; each has an `add_to(app)`.
"""
