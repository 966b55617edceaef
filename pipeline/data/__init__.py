"""From submissions to token shards."""
