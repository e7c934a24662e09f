"""A recorded run in other people's formats. Each module is one; ``write`` makes it."""
