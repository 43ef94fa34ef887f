"""An order's life in an event store, with redis-py: versions, snapshots, a group of consumers, and a read model.

python shop.py [PORT]
"""

import json
import sys
import uuid

import redis


class VersionConflict(Exception):
    """Someone else has changed the order. Load it again and decide again."""


class Orders:
    """Orders, each in a stream of its own, beside a key with its version."""

    def __init__(self, client: redis.Redis, shop: str):
        self.client = client
        self.shop = shop

    def stream(self, order: str) -> str:
        return f"{self.shop}-{order}"

    def append(self, order: str, expected: int, events: list[tuple[str, dict]]) -> list[str]:
        """Appends all of the events or none, if the order is at the version expected."""
        stream, version = self.stream(order), f"{self.shop}:version:{order}"
        with self.client.pipeline(transaction=True) as pipe:
            try:
                # The watch begins before the version is read. The other way round, a change between the two is not seen.
                pipe.watch(version)
                actual = int(pipe.get(version) or 0)
                if actual != expected:
                    raise VersionConflict(f"{order} is at {actual}, not at {expected}")
                pipe.multi()
                for name, data in events:
                    pipe.xadd(stream, {"event_type": name, "data": json.dumps(data)})
                pipe.set(version, expected + len(events))
                *ids, _ = pipe.execute()
                return ids
            except redis.WatchError as error:
                raise VersionConflict(f"{order} was changed meanwhile") from error

    def load(self, order: str) -> tuple[dict, str]:
        """The order's state: its snapshot, if there is one, and what came after it. And the id of the last event."""
        snapshot = self.client.hgetall(f"{self.shop}:snapshot:{order}")
        state = json.loads(snapshot["state"]) if snapshot else {}
        last = snapshot.get("id", "0-0")
        # The bracket leaves out the event that the snapshot has already seen.
        for last, fields in self.client.xrange(self.stream(order), min=f"({last}"):
            state = apply(state, fields["event_type"], json.loads(fields["data"]))
        return state, last

    def take_snapshot(self, order: str) -> None:
        state, last = self.load(order)
        self.client.hset(f"{self.shop}:snapshot:{order}", mapping={"state": json.dumps(state), "id": last})


def apply(state: dict, name: str, data: dict) -> dict:
    status = {"OrderPlaced": "placed", "OrderPaid": "paid", "OrderShipped": "shipped"}[name]
    return {**state, **data, "status": status, "events": state.get("events", 0) + 1}


def versions_are_checked(client: redis.Redis, orders: Orders) -> None:
    orders.append("1", 0, [("OrderPlaced", {"total": 42})])
    orders.append("1", 1, [("OrderPaid", {"by": "card"}), ("OrderShipped", {"with": "post"})])
    try:
        orders.append("1", 1, [("OrderPaid", {"by": "cash"})])
        raise AssertionError("an append at an old version was taken")
    except VersionConflict:
        pass
    state, _ = orders.load("1")
    assert state == {"total": 42, "by": "card", "with": "post", "status": "shipped", "events": 3}, state
    assert client.xlen(orders.stream("1")) == 3


def one_of_two_at_once_wins(client: redis.Redis, orders: Orders) -> None:
    version = f"{orders.shop}:version:2"
    other = redis.Redis(connection_pool=client.connection_pool)
    with client.pipeline(transaction=True) as pipe:
        pipe.watch(version)
        orders_of_other = Orders(other, orders.shop)
        orders_of_other.append("2", 0, [("OrderPlaced", {"total": 7})])
        pipe.multi()
        pipe.xadd(orders.stream("2"), {"event_type": "OrderPlaced", "data": '{"total": 8}'})
        pipe.set(version, 1)
        try:
            pipe.execute()
            raise AssertionError("both were taken")
        except redis.WatchError:
            pass
    assert orders.load("2")[0]["total"] == 7


def a_snapshot_saves_reading(orders: Orders) -> None:
    before = orders.load("1")
    orders.take_snapshot("1")
    assert orders.load("1") == before
    orders.append("1", 3, [("OrderPaid", {"by": "card again"})])
    assert orders.load("1")[0]["events"] == 4


def a_group_shares_the_work(client: redis.Redis, orders: Orders) -> None:
    """One consumer reads and dies; another takes over what it has not acknowledged. The read model counts each event once."""
    stream, group, model = orders.stream("3"), "mailer", f"{orders.shop}:totals"
    client.xgroup_create(stream, group, id="0", mkstream=True)
    orders.append("3", 0, [("OrderPlaced", {"total": total}) for total in range(10)])
    [[_, taken]] = as_pairs(client.xreadgroup(group, "dies", {stream: ">"}, count=4))
    assert len(taken) == 4
    [[_, taken]] = as_pairs(client.xreadgroup(group, "lives", {stream: ">"}, count=100))
    work(client, stream, group, model, taken)
    assert client.xpending(stream, group)["pending"] == 4
    cursor = "0-0"
    while True:
        cursor, taken, gone = client.xautoclaim(stream, group, "lives", min_idle_time=0, start_id=cursor, count=3)
        assert gone == []
        work(client, stream, group, model, taken)
        if cursor == "0-0":
            break
    assert client.xpending(stream, group)["pending"] == 0
    assert client.hgetall(model) == {"orders": "10", "total": "45"}, client.hgetall(model)
    [info] = client.xinfo_groups(stream)
    assert (info["pending"], info["lag"], info["consumers"]) == (0, 0, 2), info


def work(client: redis.Redis, stream: str, group: str, model: str, entries: list) -> None:
    """The change to the read model and the acknowledgement are one transaction: after a crash both are there, or neither."""
    for entry, fields in entries:
        with client.pipeline(transaction=True) as pipe:
            pipe.hincrby(model, "orders", 1)
            pipe.hincrby(model, "total", json.loads(fields["data"])["total"])
            pipe.xack(stream, group, entry)
            pipe.execute()


def as_pairs(answer) -> list:
    """In RESP3 a map of streams, in RESP2 pairs."""
    return [[name, entries[0]] for name, entries in answer.items()] if isinstance(answer, dict) else answer


def main() -> None:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 7379
    for protocol in (2, 3):
        client = redis.Redis(port=port, protocol=protocol, decode_responses=True)
        orders = Orders(client, f"Order{uuid.uuid4().hex}")
        versions_are_checked(client, orders)
        one_of_two_at_once_wins(client, orders)
        a_snapshot_saves_reading(orders)
        a_group_shares_the_work(client, orders)
        client.close()
    print("ok")


if __name__ == "__main__":
    main()
