"""Names of the strategies by which the pause before a retry grows."""

from typing import Final

DELAY_STRATEGY_CONSTANT: Final = "constant"
"""Wait ``retry_pause`` seconds before every retry."""

DELAY_STRATEGY_INCREMENTAL: Final = "incremental"
"""Wait ``retry_pause`` seconds longer before each further retry."""

DELAY_STRATEGY_EXPONENTIAL: Final = "exponential"
"""Wait twice as long before each further retry."""

DELAY_STRATEGIES: Final = (DELAY_STRATEGY_CONSTANT, DELAY_STRATEGY_INCREMENTAL, DELAY_STRATEGY_EXPONENTIAL)
