"""From messages to a prompt, and from tokens back to text."""
