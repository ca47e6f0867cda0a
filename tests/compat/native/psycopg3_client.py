# psycopg 3, which binds values on the server and prepares what it sees again.

import re
import threading
import time

import psycopg

from checks import CA, DATABASE, HOST, PASSWORD, PORT, Adapter, run

TLS = {"sslmode": "verify-full", "sslrootcert": CA} if CA else {"sslmode": "disable"}


class Pool:
    """psycopg_pool is a package of its own; here the same connection is used again and again."""

    def __init__(self, connection):
        self.connection = connection

    def acquire(self):
        return self.connection

    def release(self, connection):
        pass

    def close(self):
        self.connection.close()


class Psycopg3(Adapter):
    libpq = psycopg.pq.version()
    version = f"{psycopg.__version__} (libpq {libpq // 10000}.{libpq % 10000})"

    def connect(self, user, port):
        place = {"host": HOST, "port": port, "dbname": DATABASE}
        return psycopg.connect(user=user, password=PASSWORD, autocommit=True, **place, **TLS)

    def connect_url(self, url):
        return psycopg.connect(url, autocommit=True)

    def rows(self, connection, sql, values=(), prepare=None):
        text = re.sub(r"\$\d", "%s", sql) if values else sql
        cursor = connection.execute(text, values or None, prepare=prepare)
        return cursor.fetchall() if cursor.description else []

    def prepare(self, connection, sql):
        return lambda values: self.rows(connection, sql, values, prepare=True)

    def cancel(self, connection, sql, is_running):
        def cancel():
            while not is_running():
                time.sleep(0.02)
            connection.cancel()

        threading.Thread(target=cancel).start()
        self.rows(connection, sql)

    def pool(self, user):
        return Pool(self.connect(user, PORT))

    def state(self, error):
        return getattr(error, "sqlstate", None)


run(Psycopg3())
