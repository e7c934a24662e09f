"""Is every write that was acknowledged there afterwards, and do the checkers see when not?"""
