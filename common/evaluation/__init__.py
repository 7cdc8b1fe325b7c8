"""From a classifier's answers to a privacy verdict: bank -> roles' answers -> attacks -> one Report.

Here are the protocols and the record of a report. Nothing here knows a dataset folder, prints or draws.
"""
