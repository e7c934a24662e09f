"""Is the backends' disk a disk, by the standards' measure and by an initiator's?"""
