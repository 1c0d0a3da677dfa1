"""Files of others turned into catalog entries: model configs and vendors' quotes."""
