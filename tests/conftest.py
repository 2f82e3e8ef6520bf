"""How long hypothesis searches: ``pytest --hypothesis-profile=long`` for a night."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

SLOW = [HealthCheck.too_slow]
settings.register_profile("check", deadline=None, suppress_health_check=SLOW)
settings.register_profile("long", max_examples=5000, stateful_step_count=100, deadline=None, suppress_health_check=SLOW)
settings.load_profile("check")
