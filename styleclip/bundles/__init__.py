"""Built-in bundles, as TOML files."""
