"""The manager process: claim, dispatch, settle, and look after the workers."""
