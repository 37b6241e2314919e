from __future__ import annotations

from lawsweep.executors.ray.nodes import Room, room_of


def node(alive=True, **resources):
    return {"Alive": alive, "Resources": resources}


def test_room_is_counted_node_by_node():
    nodes = [
        node(CPU=8.0, GPU=2.0, memory=8e9),
        node(CPU=3.0, GPU=4.0, memory=24e9),
        node(CPU=64.0, memory=1e12),  # no GPU: of no use to a task that needs one
        node(alive=False, CPU=64.0, GPU=8.0, memory=1e12),
    ]
    assert room_of(nodes, 1, 1) == Room(5, 4e9, 24e9, 3.0)
    assert room_of(nodes, 1, 0.5) == Room(7, 2e9, 24e9, 3.0)
    assert room_of(nodes, 4, 0.25) == Room(2, 4e9, 8e9, 8.0)
    assert room_of(nodes, 2, 0) == Room(4 + 1 + 32, 2e9, 1e12, 64.0)
    assert room_of(nodes, 1, 8).n_slots == 0
    assert room_of([node(CPU=2.0)], 1, 0) == Room(2, float("inf"), 0.0, 2.0)
