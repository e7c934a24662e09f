"""Sessions that end, and initiators that end what is another's, with commands in flight."""
