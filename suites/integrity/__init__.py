"""Are all acknowledged writes on the medium afterwards, and do the checkers detect a loss?"""
