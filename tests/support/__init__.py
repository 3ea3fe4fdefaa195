"""What several folders of tests share: row factories, waiting, recorded events, engine doubles, commands."""
