"""One dataset folder, a seed and overrides, made ready for work, and the work itself: a module for each command.

The only package that knows all the others. It prints what it does and leaves files behind; it parses no command line.
"""
