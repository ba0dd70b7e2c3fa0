"""What received values mean: words that mean nothing, and one reader per kind of value."""
