"""Code shared by the test tiers: row factories, waiting, recorded events, engine doubles, commands."""
