"""The limits at which panels change colour: those of the alerts.

``alerts/alerts.yaml`` repeats the numbers, as Prometheus reads no variables; a test compares. Where an alert
compares with a setting of the queue, the limit here is the one with the default of that setting.
"""

from typing import Final

OLDEST_DUE_HIGH: Final = 300
"""Seconds: PartisanQueueLatencyHigh, a sixth of the default of MAX_WAIT_SECONDS."""
OLDEST_DUE_CRITICAL: Final = 1800
"""Seconds: PartisanQueueLatencyCritical, the default of MAX_WAIT_SECONDS."""
PAUSED: Final = 14_400
"""Seconds: PartisanQueuePausedLong."""
TICK_LATENESS: Final = 60
"""Seconds: PartisanScheduleLate."""
FAILURE_RATIO: Final = 0.1
"""Failed tasks to ended ones: PartisanTaskFailureRatioHigh."""
RETRY_RATIO: Final = 0.1
"""Retried runs to ended ones; no alert fires at this limit."""
BUSY_RATIO: Final = 0.9
"""Busy to possible seconds of the workers: PartisanWorkersSaturated."""
RUN_AGE: Final = 3600
"""Seconds: PartisanTaskRunningTooLong, for processors without a time limit and without completed runs."""
LOOP_AGE: Final = 60
"""Seconds: PartisanManagerStalled."""
CLOCK_SKEW: Final = 5
"""Seconds, either way: PartisanClockSkew."""
TRANSACTION_AGE: Final = 1800
"""Seconds: PartisanOldTransaction."""
DEAD_ROWS: Final = 100_000
"""Rows: PartisanTableBloat."""
