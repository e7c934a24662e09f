"""Defects of SCST, one test each: historic ones that were fixed, and known ones that are not.

A module is named after its defect; its docstring names the commit that fixed it.
"""
