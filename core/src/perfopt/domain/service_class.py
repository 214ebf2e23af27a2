"""What under-provisioning costs a service, by its class."""

from collections.abc import Mapping

from perfopt.domain.enums import ServiceClass

UNDER_PROVISIONING_PENALTIES: Mapping[ServiceClass, float] = {
    ServiceClass.CRITICAL: 15.0,
    ServiceClass.STANDARD: 9.5,
    ServiceClass.BATCH: 6.0,
}
"""The penalty of a violated recommendation: in learnt sizes where the typical allocation costs 8, in plans
in units of the monthly cost of the workload."""


def under_provisioning_penalty(
    service_class: ServiceClass, configured: Mapping[ServiceClass, float] | None = None
) -> float:
    """Returns the penalty of a class: the configured one, or the default where its class is not named."""
    return (configured or {}).get(service_class, UNDER_PROVISIONING_PENALTIES[service_class])
