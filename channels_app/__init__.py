"""Public conversation spaces: the app above the sessions it wakes."""
