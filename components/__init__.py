"""One Pulumi component per file, with its Args. Empty on purpose: importing one component must not load every SDK."""
