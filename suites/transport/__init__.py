"""Does the target survive what is wrong on the wire, and do its other sessions?"""
