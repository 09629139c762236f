"""Run directories: what was asked, what was trained, where its files are; readable without torch."""
