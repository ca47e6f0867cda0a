# asyncpg, with its own pool, which resets a connection that comes back.

import asyncio
import ssl

import asyncpg

from checks import CA, DATABASE, HOST, PASSWORD, PORT, Adapter, run

LOOP = asyncio.new_event_loop()
asyncio.set_event_loop(LOOP)
TLS = {"ssl": ssl.create_default_context(cafile=CA)} if CA else {"ssl": False}


def now(work):
    return LOOP.run_until_complete(work)


class Pool:
    def __init__(self, fields):
        self.pool = now(asyncpg.create_pool(min_size=1, max_size=2, **fields))

    def acquire(self):
        return now(self.pool.acquire())

    def release(self, connection):
        now(self.pool.release(connection))

    def close(self):
        now(self.pool.close())


class Asyncpg(Adapter):
    version = asyncpg.__version__
    cancel_hides = True

    def fields(self, user, port):
        place = {"host": HOST, "port": int(port), "database": DATABASE}
        return {**place, "user": user, "password": PASSWORD, **TLS}

    def connect(self, user, port):
        return now(asyncpg.connect(**self.fields(user, port)))

    def connect_url(self, url):
        return now(asyncpg.connect(url))

    def close(self, connection):
        now(connection.close())

    def rows(self, connection, sql, values=()):
        if not values and not sql.startswith("SELECT"):
            now(connection.execute(sql))
            return []
        return [tuple(row) for row in now(connection.fetch(sql, *values))]

    def prepare(self, connection, sql):
        statement = now(connection.prepare(sql))
        return lambda values: [tuple(row) for row in now(statement.fetch(*values))]

    def cancel(self, connection, sql, is_running):
        task = LOOP.create_task(connection.execute(sql))
        while not is_running():
            now(asyncio.sleep(0.02))
        task.cancel()
        now(task)

    def pool(self, user):
        return Pool(self.fields(user, PORT))

    def state(self, error):
        return getattr(error, "sqlstate", None)


run(Asyncpg())
