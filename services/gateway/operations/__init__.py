"""Long-running operations (AIP-151): a slow call that is asked for as one, kept, run in the background, and awaited."""
