"""The arena: values alive together never share bytes, and no byte is asked for in vain."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from autodiffc.schedule.arena import ALIGNMENT, Life, aligned, pack


@st.composite
def some_lives(draw: st.DrawFn) -> dict[str, Life]:
    found = {}
    for k in range(draw(st.integers(0, 12))):
        start = draw(st.integers(0, 10))
        size = draw(st.integers(0, 400))
        found[f"v{k}"] = Life(size, start, start + draw(st.integers(0, 6)))
    return found


@given(some_lives())
def test_values_alive_together_do_not_share_bytes(lives: dict[str, Life]) -> None:
    offsets, _ = pack(lives)
    assert offsets.keys() == lives.keys()
    for a, one in lives.items():
        for b, other in lives.items():
            if a != b and one.start <= other.end and other.start <= one.end:
                apart = offsets[a] + one.size <= offsets[b] or offsets[b] + other.size <= offsets[a]
                assert apart or 0 in (one.size, other.size), (a, b)


@given(some_lives())
def test_offsets_are_aligned_and_the_total_is_the_greatest_end(lives: dict[str, Life]) -> None:
    offsets, total = pack(lives)
    assert all(o % ALIGNMENT == 0 and o >= 0 for o in offsets.values())
    assert total == max((offsets[n] + aligned(life.size) for n, life in lives.items()), default=0)


@given(some_lives())
def test_the_total_is_at_least_what_is_alive_and_at_most_the_sum(lives: dict[str, Life]) -> None:
    _, total = pack(lives)
    alive = [
        sum(aligned(v.size) for v in lives.values() if v.start <= t <= v.end) for t in range(17)
    ]
    assert max(alive) <= total <= sum(aligned(v.size) for v in lives.values())


@given(some_lives())
def test_the_order_of_the_values_does_not_matter(lives: dict[str, Life]) -> None:
    assert pack(dict(reversed(lives.items()))) == pack(lives)


def test_lives_one_after_the_other_share_their_place() -> None:
    offsets, total = pack({"a": Life(100, 0, 1), "b": Life(90, 2, 3), "c": Life(64, 1, 2)})
    assert offsets == {"a": 0, "b": 0, "c": 128}
    assert total == 192


def test_a_gap_between_two_values_is_used() -> None:
    lives = {
        "low": Life(256, 0, 9),
        "middle": Life(192, 0, 1),  # gone when `small` begins
        "high": Life(128, 0, 9),
        "small": Life(64, 5, 6),
    }
    offsets, total = pack(lives)
    assert offsets["low"] + 256 <= offsets["small"] < offsets["high"]
    assert total == 256 + 192 + 128


def test_a_value_read_at_the_moment_another_starts_still_counts() -> None:
    assert Life(1, 0, 3).meets(Life(1, 3, 4))
    assert not Life(1, 0, 3).meets(Life(1, 4, 5))


def test_an_empty_arena_has_no_bytes() -> None:
    assert pack({}) == ({}, 0)
