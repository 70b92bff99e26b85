#!/usr/bin/python3
"""scores.py - calls the handlers of scores.lua, many at a time.

DATABASE_URL and REDIS_URL name the servers.
"""

import os
import sys

import tidepool

HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    settings = {
        "database.postgres_url": os.environ["DATABASE_URL"],
        "redis.url": os.environ["REDIS_URL"],
        "database.pool.max_connections": 4,
        "log.level": "warn",
    }
    with tidepool.Runtime(os.path.join(HERE, "scores.lua"), settings,
                          log=sys.stderr.write) as runtime:
        calls = [runtime.call("score", {"player": "p%d" % (i % 10), "points": i + 1})
                 for i in range(100)]
        runtime.wait(calls)
        assert all(call.result()["total"] > 0 for call in calls)
        for place in runtime.ask("top", 3):
            print("%(player)s %(points)d" % place)
        print("%(rows)d rows, %(points)d points" % runtime.ask("total"))

        try:
            runtime.ask("score", {"player": "p0", "points": -1})
        except tidepool.Error as error:
            print("%s: %s" % (error.name, error))

        late = runtime.call("sleep", timeout=0.05)
        given_up = runtime.call("sleep")
        runtime.cancel(given_up)
        runtime.wait([late, given_up])
        for call in (late, given_up):
            try:
                call.result()
            except tidepool.Error as error:
                print(error.name)
        runtime.drain(5)


if __name__ == "__main__":
    main()
