import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfopt_api.events.material import MATERIAL_CHANGE, AnnouncedState, differs_materially
from perfopt_api.events.message import event_subject


def known(cpu=None, memory=None, replicas=None, already_right=False, **other):
    quantities = {"cpu_request": cpu, "memory_request": memory, "replicas": replicas}
    return AnnouncedState(quantities=quantities, already_right=already_right, other=other)


@pytest.mark.parametrize(
    ("old", "new", "material"),
    [
        (known("300m"), known("0.3"), False),
        (known("300m"), known("314m"), False),
        (known("300m"), known("315m"), True),
        (known("300m"), known("285m"), True),
        (known(memory="1Gi"), known(memory="1024Mi"), False),
        (known(memory="1Gi"), known(memory="1100Mi"), True),
        (known(replicas="3"), known(replicas="4"), True),
        (known(replicas="0"), known(replicas="0"), False),
        (known("0"), known("10m"), True),
        (known("300m"), known(), True),
        (known(), known(), False),
        (known(hpa={"max_replicas": 3}), known(hpa={"max_replicas": 4}), True),
        (known("300m"), known("300m", already_right=True), True),
    ],
)
def test_what_subscribers_hear_of(old, new, material):
    assert differs_materially(new, old) is material


@given(before=st.integers(1, 10**6), after=st.integers(1, 10**6))
def test_a_change_is_material_from_the_stated_share_on(before, after):
    told = differs_materially(known(f"{after}m"), known(f"{before}m"))
    share = abs(after - before) / before
    assert told is (share >= MATERIAL_CHANGE) or abs(share - MATERIAL_CHANGE) < 1e-9


@given(st.text(max_size=100), st.text(max_size=100))
def test_a_subject_has_five_tokens_and_names_never_meet(one, other):
    subject = event_subject("RESOURCE_OPTIMIZATION", one)
    assert subject.count(".") == 4
    assert not set(subject) & set(" *>\t\r\n")
    assert subject.isascii()
    assert (subject == event_subject("RESOURCE_OPTIMIZATION", other)) is (one == other)
