"""The chat formats, one a file."""
