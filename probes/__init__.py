"""Which claim is made, and does it hold? One question a file."""
