"""From a recommendation to the change of its workload."""

import msgspec
import pytest

from perfopt.errors import ConflictError
from perfopt_api.apply.order import order_of
from perfopt_api.apply.request import ApplyRecommendationRequest
from perfopt_api.policy.settings import PolicySettings


def ordered(recommendation, **wish):
    return order_of(recommendation, ApplyRecommendationRequest(mode="canary", **wish), PolicySettings())


def with_sidecar(made, *, only=False):
    """Gives a recommendation an injected sidecar of the same sizes; `only` changes that alone."""
    current, target = made.current_state["containers"], made.recommended_state["containers"]
    app = current["app"] if only else target["app"]
    states = {
        "current_state": made.current_state
        | {"containers": {"app": current["app"], "istio-proxy": current["app"]}},
        "recommended_state": made.recommended_state
        | {"containers": {"app": app, "istio-proxy": target["app"]}},
    }
    if only:
        states["recommended_state"]["replicas"] = made.current_state["replicas"]
    return msgspec.structs.replace(made, **states)


def test_an_injected_sidecar_is_left_out_of_a_template_and_said(make):
    order = ordered(with_sidecar(make()))
    assert set(order.whole.containers) == {"app"}
    assert not any("istio-proxy" in path for path in order.expected)
    assert "istio-proxy: sidecar.istio.io/proxyCPU" in order.notes[0]
    assert ordered(make()).notes == ()


def test_the_sidecar_of_running_pods_is_resized_with_them(make):
    order = ordered(with_sidecar(make()), durability="transient")
    assert set(order.whole.containers) == {"app", "istio-proxy"}
    assert order.notes == ()


def test_a_change_of_an_injected_sidecar_alone_names_its_annotations(make):
    with pytest.raises(ConflictError) as refused:
        ordered(with_sidecar(make(), only=True))
    assert "sidecar.istio.io/proxyCPU" in refused.value.remedy
