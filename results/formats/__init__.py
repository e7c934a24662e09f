"""A recorded run in standard formats. Each module is one; its ``write`` makes the file."""
