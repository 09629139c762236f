"""What the project claims about speed and exactness, measured: `python -m benchmarks NAME --json`.

Each module with a function `measure` is a benchmark; its name is the module's, with hyphens.
"""
