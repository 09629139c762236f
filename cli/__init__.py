"""How is it asked for? One command a file, and no maths."""
