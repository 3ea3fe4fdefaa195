"""An application whose tasks measure, log, enqueue and misbehave, for tests of what is seen of them."""
