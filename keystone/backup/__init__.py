"""Copies off the site: what is copied, who may do it, and what a restore needs. Pure; nothing here makes a resource."""
