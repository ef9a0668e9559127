"""The same work as others do it. Each file imports its package at the top, and is imported late."""
