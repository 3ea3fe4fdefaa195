"""The limits at which panels change color. They are the limits of the alerts.

``alerts/alerts.yaml`` repeats the numbers, because Prometheus rules have no variables; a test compares them.
Where the limit of an alert depends on a setting of the queue, the limit here is for that setting's default.
"""

from typing import Final

OLDEST_DUE_HIGH: Final = 300
"""The limit of PartisanQueueLatencyHigh, in seconds: a sixth of the default of MAX_WAIT_SECONDS."""
OLDEST_DUE_CRITICAL: Final = 1800
"""The limit of PartisanQueueLatencyCritical, in seconds: the default of MAX_WAIT_SECONDS."""
PAUSED: Final = 14_400
"""The limit of PartisanQueuePausedLong, in seconds."""
TICK_LATENESS: Final = 60
"""The limit of PartisanScheduleLate, in seconds."""
FAILURE_RATIO: Final = 0.1
"""The limit of PartisanTaskFailureRatioHigh: the share of failed tasks among those that ended."""
RETRY_RATIO: Final = 0.1
"""The share of retried runs among those that ended and were not postponed. No alert fires at this limit."""
BUSY_RATIO: Final = 0.9
"""The limit of PartisanWorkersSaturated: the share of the workers' time that is busy."""
RUN_AGE: Final = 3600
"""The limit of PartisanTaskRunningTooLong, in seconds.

It applies to processors that have neither a time limit nor completed runs.
"""
LOOP_AGE: Final = 60
"""The limit of PartisanManagerStalled, in seconds."""
CLOCK_SKEW: Final = 5
"""The limit of PartisanClockSkew, in seconds, in either direction."""
TRANSACTION_AGE: Final = 1800
"""The limit of PartisanOldTransaction, in seconds."""
DEAD_ROWS: Final = 100_000
"""The limit of PartisanTableBloat, in rows."""
