"""The library: pure functions over the settings, and what runs against machines. It makes no Pulumi resource."""
