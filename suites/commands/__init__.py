"""Commands that an initiator should not issue, or seldom does: how each ends."""
