"""What people read: reports as pages, files, tables and pictures, and summaries of all that there are.

Rendered from the records of evaluation/record.py; nothing is measured or judged here.
"""
