# psycopg 2, which writes values into the statement itself, on connections and on its own pool.

import re
import threading
import time

import psycopg2
from psycopg2.pool import ThreadedConnectionPool

from checks import CA, DATABASE, HOST, PASSWORD, PORT, Adapter, run

TLS = {"sslmode": "verify-full", "sslrootcert": CA} if CA else {"sslmode": "disable"}


def fields(user, port):
    place = {"host": HOST, "port": port, "dbname": DATABASE}
    return {**place, "user": user, "password": PASSWORD, **TLS}


class Pool:
    def __init__(self, user):
        self.pool = ThreadedConnectionPool(1, 2, **fields(user, PORT))

    def acquire(self):
        return self.pool.getconn()

    def release(self, connection):
        self.pool.putconn(connection)  # which rolls back

    def close(self):
        self.pool.closeall()


class Psycopg2(Adapter):
    libpq = psycopg2.extensions.libpq_version()
    version = f"{psycopg2.__version__.split(' ')[0]} (libpq {libpq // 10000}.{libpq % 10000})"
    names = 0

    def connect(self, user, port):
        connection = psycopg2.connect(**fields(user, port))
        connection.autocommit = True
        return connection

    def connect_url(self, url):
        return psycopg2.connect(url)

    def rows(self, connection, sql, values=()):
        with connection.cursor() as cursor:
            cursor.execute(re.sub(r"\$\d", "%s", sql) if values else sql, values or None)
            return cursor.fetchall() if cursor.description else []

    def prepare(self, connection, sql):
        Psycopg2.names += 1
        name = f"by_name_{Psycopg2.names}"
        self.rows(connection, f"PREPARE {name} AS {sql}")
        return lambda values: self.rows(connection, f"EXECUTE {name} ($1)", values)

    def cancel(self, connection, sql, is_running):
        def cancel():
            while not is_running():
                time.sleep(0.02)
            connection.cancel()

        threading.Thread(target=cancel).start()
        self.rows(connection, sql)

    def pool(self, user):
        return Pool(user)

    def state(self, error):
        return getattr(error, "pgcode", None)


run(Psycopg2())
