"""The rules, one topic per file. Each file ends with its list RULES."""
