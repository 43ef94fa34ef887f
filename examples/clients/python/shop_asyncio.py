"""The same shop with redis-py's asyncio client: many writers at once, and a reader that waits for what comes.

python shop_asyncio.py [PORT]
"""

import asyncio
import json
import sys
import uuid

import redis.asyncio as redis

WRITERS = 8
ORDERS_EACH = 25


async def place(client: redis.Redis, stream: str, counter: str) -> int:
    """Appends the next order. Whoever comes second tries again."""
    while True:
        async with client.pipeline(transaction=True) as pipe:
            try:
                await pipe.watch(counter)
                number = int(await pipe.get(counter) or 0) + 1
                pipe.multi()
                pipe.xadd(stream, {"event_type": "OrderPlaced", "data": json.dumps({"number": number})})
                pipe.set(counter, number)
                await pipe.execute()
                return number
            except redis.WatchError:
                continue


async def follow(client: redis.Redis, stream: str, count: int) -> list[int]:
    """Reads from the beginning, and waits for more until it has seen so many."""
    last, numbers = "0-0", []
    while len(numbers) < count:
        answer = await client.xread({stream: last}, count=10, block=10_000)
        assert answer, "nothing came"
        batches = [entries[0] for entries in answer.values()] if isinstance(answer, dict) else [entries for _, entries in answer]
        for entries in batches:
            for last, fields in entries:
                numbers.append(json.loads(fields["data"])["number"])
    return numbers


async def main() -> None:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 7379
    for protocol in (2, 3):
        client = redis.Redis(port=port, protocol=protocol, decode_responses=True)
        shop = f"Order{uuid.uuid4().hex}"
        stream, counter = f"{shop}-all", f"{shop}:count"

        async def write() -> None:
            for _ in range(ORDERS_EACH):
                await place(client, stream, counter)

        follower = asyncio.create_task(follow(client, stream, WRITERS * ORDERS_EACH))
        await asyncio.gather(*(write() for _ in range(WRITERS)))
        numbers = await follower
        # No number is missing or there twice, and they were seen in their order.
        assert numbers == list(range(1, WRITERS * ORDERS_EACH + 1)), numbers
        await client.aclose()
    print("ok")


if __name__ == "__main__":
    asyncio.run(main())
