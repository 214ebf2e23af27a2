"""What under-provisioning costs a service, by its class."""

from collections.abc import Mapping

from perfopt.domain.enums import ServiceClass

UNDER_PROVISIONING_PENALTIES: Mapping[ServiceClass, float] = {
    ServiceClass.CRITICAL: 15.0,
    ServiceClass.STANDARD: 9.5,
    ServiceClass.BATCH: 6.0,
}
"""The penalty of a violated recommendation, where a request of twice what is needed costs 1: in learnt sizes
the unit is the cost of the need, in plans the monthly cost of the workload."""


def under_provisioning_penalty(
    service_class: ServiceClass, configured: Mapping[ServiceClass, float] | None = None
) -> float:
    """Returns the penalty of a class: the configured one, or the default where its class is not named."""
    return (configured or {}).get(service_class, UNDER_PROVISIONING_PENALTIES[service_class])
