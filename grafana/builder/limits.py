"""The limits at which an alert fires and a panel changes colour: the same number in both.

``alerts/alerts.yaml`` repeats them by hand, as Prometheus reads no variables; a test compares.
"""

from typing import Final

OLDEST_DUE_HIGH: Final = 300
"""Seconds: PartisanQueueLatencyHigh, with the default of MAX_WAIT_SECONDS."""
OLDEST_DUE_CRITICAL: Final = 1800
"""Seconds: PartisanQueueLatencyCritical, with the default of MAX_WAIT_SECONDS."""
PAUSED: Final = 14_400
"""Seconds: PartisanQueuePausedLong."""
TICK_LATENESS: Final = 60
"""Seconds: PartisanScheduleLate."""
FAILURE_RATIO: Final = 0.1
"""Failed to ended tasks: PartisanTaskFailureRatioHigh."""
RETRY_RATIO: Final = 0.1
"""Retried runs to ended ones; no alert."""
BUSY_RATIO: Final = 0.9
"""Busy to possible seconds of the workers: PartisanWorkersSaturated."""
RUN_AGE: Final = 3600
"""Seconds: PartisanTaskRunningTooLong, for a kind without a time limit and without history."""
LOOP_AGE: Final = 60
"""Seconds: PartisanManagerStalled."""
CLOCK_SKEW: Final = 5
"""Seconds, either way: PartisanClockSkew."""
TRANSACTION_AGE: Final = 1800
"""Seconds: PartisanOldTransaction."""
DEAD_ROWS: Final = 100_000
"""Rows: PartisanTableBloat."""
SATURATION_WAIT: Final = 60
"""Seconds that due work must already wait before busy workers are a problem: PartisanWorkersSaturated."""
