"""Prepare a corpus as token shards."""
