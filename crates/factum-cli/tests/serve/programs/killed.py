"""Clients of a server that is killed, and what they were told by it before.

killed.py load PORT LOG ROUND    writes and reads until the server is gone; each answer goes to the log when it has come
killed.py check PORT LOG         whether all that was answered is so
"""

import json
import os
import random
import sys
import threading
import traceback

import redis

STREAMS = [f"Order-{number}" for number in range(8)]
GROUP = "group"


def load(port: int, log, round_number: int) -> None:
    lock = threading.Lock()

    def note(**what) -> None:
        with lock:
            log.write(json.dumps(what) + "\n")
            log.flush()

    def client() -> redis.Redis:
        return redis.Redis(port=port, decode_responses=True, retry=None, socket_timeout=60)

    def write(number: int) -> None:
        connection, count = client(), 0
        while True:
            count += 1
            stream = random.choice(STREAMS)
            texts = [f"{round_number}.{number}.{count}.{place}" for place in range(random.choice([1, 1, 5, 40]))]
            with connection.pipeline(transaction=random.random() < 0.5) as pipe:
                for text in texts:
                    pipe.xadd(stream, {"event_type": "Noted", "data": json.dumps(text)})
                pipe.incrby(f"count:{number}", len(texts))
                pipe.hset("last", str(number), texts[-1])
                *ids, counted, _ = pipe.execute()
            note(added=[[stream, id, text] for id, text in zip(ids, texts)], writer=number, counted=counted, last=texts[-1])

    def consume(name: str) -> None:
        connection = client()
        while True:
            answer = connection.xreadgroup(GROUP, name, {stream: ">" for stream in STREAMS}, count=5, block=50) or []
            # A map of streams in RESP3, pairs in RESP2.
            for stream, entries in [(name, of[0]) for name, of in answer.items()] if isinstance(answer, dict) else answer:
                ids = [id for id, _ in entries]
                note(delivered=[[stream, id] for id in ids], consumer=name)
                some = ids[: random.randrange(len(ids) + 1)]
                if some:
                    note(asked=[[stream, id] for id in some])
                    connection.xack(stream, GROUP, *some)
                    note(acknowledged=[[stream, id] for id in some])

    def until_it_is_gone(work, *arguments) -> None:
        try:
            work(*arguments)
        except (redis.ConnectionError, redis.TimeoutError, OSError):
            pass
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    for stream in STREAMS:
        try:
            client().xgroup_create(stream, GROUP, id="0", mkstream=True)
        except redis.ResponseError as error:
            assert "BUSYGROUP" in str(error), error
    threads = [threading.Thread(target=until_it_is_gone, args=(write, number)) for number in range(4)]
    threads += [threading.Thread(target=until_it_is_gone, args=(consume, name)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    print("loading", flush=True)
    for thread in threads:
        thread.join()


def check(port: int, log) -> None:
    added, delivered, asked, acknowledged, counts, last = {}, {}, set(), set(), {}, {}
    for line in log:
        what = json.loads(line)
        for stream, id, text in what.get("added", []):
            added[stream, id] = text
        if "counted" in what:
            counts[what["writer"]], last[what["writer"]] = what["counted"], what["last"]
        for stream, id in what.get("delivered", []):
            assert (stream, id) not in delivered, f"{id} of {stream} was delivered as new twice"
            delivered[stream, id] = what["consumer"]
        asked.update(map(tuple, what.get("asked", [])))
        acknowledged.update(map(tuple, what.get("acknowledged", [])))
    client = redis.Redis(port=port, decode_responses=True)
    there, pending = {}, {}
    for stream in STREAMS:
        entries = client.xrange(stream)
        assert [id for id, _ in entries] == sorted((id for id, _ in entries), key=lambda id: [int(part) for part in id.split("-")])
        there.update({(stream, id): json.loads(fields["data"]) for id, fields in entries})
        for entry in client.xpending_range(stream, GROUP, "-", "+", 1_000_000):
            pending[stream, entry["message_id"]] = entry["consumer"]
        [group] = client.xinfo_groups(stream)
        for (of, id), _ in delivered.items():
            if of == stream:
                assert number_of(id) <= number_of(group["last-delivered-id"]), f"{id} of {stream} was delivered, and the group is before it"
    assert added and delivered and acknowledged, "nothing was tried"
    missing = {key: text for key, text in added.items() if there.get(key) != text}
    assert not missing, f"{len(missing)} of {len(added)} acknowledged entries are missing or changed, such as {next(iter(missing.items()))}"
    # A pipeline that got no answer may have been carried out, but none twice.
    assert len(set(there.values())) == len(there), "an entry is there twice"
    back = acknowledged & pending.keys()
    assert not back, f"{len(back)} acknowledged entries are pending again, such as {next(iter(back))}"
    lost = {key: name for key, name in delivered.items() if key not in asked and pending.get(key) != name}
    assert not lost, f"{len(lost)} delivered entries are not pending for who has them, such as {next(iter(lost.items()))}"
    for writer, counted in counts.items():
        actual = int(client.get(f"count:{writer}"))
        assert actual >= counted, f"the count of {writer} is {actual} and was {counted}"
        mine = sum(text.split(".")[1] == str(writer) for text in there.values())
        assert actual <= mine, f"{actual} were counted and {mine} are there"
    print(json.dumps({"added": len(added), "delivered": len(delivered), "acknowledged": len(acknowledged), "pending": len(pending)}))


def number_of(id: str) -> list[int]:
    return [int(part) for part in id.split("-")]


if __name__ == "__main__":
    command, port, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    if command == "load":
        with open(path, "a", encoding="utf-8") as file:
            load(port, file, int(sys.argv[4]))
    else:
        with open(path, encoding="utf-8") as file:
            check(port, file)
