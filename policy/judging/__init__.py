"""What judges: types, rules, exceptions and the server that the engine asks. The rules themselves lie in `rules/`."""
