"""The commands that `tasks.py` lists: each body parses, calls the library, and shows; nothing more.

The library is imported inside the bodies, so that listing and help answer at once.
"""
