# psycopg 2: the checks of js/scenario.mjs, on one connection a tenant and on its own pool.

import hashlib
import json
import os
import platform
import random
import threading
import time
from urllib.parse import quote

import psycopg2
from psycopg2.pool import ThreadedConnectionPool

ROLE, PASSWORD = os.environ["COMPAT_ROLE"], os.environ["COMPAT_PASSWORD"]
HOST, PORT, DATABASE = (os.environ[f"COMPAT_{name}"] for name in ("HOST", "PORT", "DATABASE"))
SERIAL_PORT = os.environ["COMPAT_SERIAL_PORT"]
CA = os.environ.get("COMPAT_CA", "")
TLS = {"sslmode": "verify-full", "sslrootcert": CA} if CA else {"sslmode": "disable"}
NAMES = {"a": ["Alice Corp", "Alice LLC"], "b": ["Bob Inc", "Bob Ltd"]}
PERSON = {"a": "ann", "b": "bob"}
PIDS = {"a": set(), "b": set()}


def user(key):
    return f"{ROLE}.tenant_{key}:{PERSON[key]}"


def fields(key, port=PORT):
    place = {"host": HOST, "port": port, "dbname": DATABASE}
    return {**place, "user": user(key), "password": PASSWORD, **TLS}


def connect(key, port=PORT):
    connection = psycopg2.connect(**fields(key, port))
    connection.autocommit = True
    return connection


def rows(connection, sql, values=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall() if cursor.description else []


def names(connection):
    return [name for (name,) in rows(connection, "SELECT name FROM tenants ORDER BY name")]


def add(connection, tenant, name):
    rows(connection, "INSERT INTO tenants (tenant_id, name) VALUES (%s, %s)", (tenant, name))


def same(seen, expected):
    assert seen == expected, f"{seen!r} and not {expected!r}"


def refused(state, work):
    try:
        work()
    except psycopg2.Error as error:
        same(error.pgcode, state)
        return
    raise AssertionError(f"this should fail with {state}")


def isolation(a, b):
    for connection, own, other in ((a, "a", "b"), (b, "b", "a")):
        same(names(connection), NAMES[own])
        sql = "SELECT count(*) FROM tenants WHERE tenant_id = %s"
        same(rows(connection, sql, (f"tenant_{other}",)), [(0,)])
        refused("42501", lambda: add(connection, f"tenant_{other}", "smuggled"))
        seen = rows(
            connection,
            "SELECT current_setting('app.current_tenant_id'), current_setting('app.user_id'),"
            " current_user::text",
        )
        same(seen, [(f"tenant_{own}", PERSON[own], ROLE)])


def transaction(a, b):
    a.autocommit = False
    with a:
        add(a, "tenant_a", "Committed")
        same(names(a), [*NAMES["a"], "Committed"])
        same(names(b), NAMES["b"])
    a.autocommit = True
    same(names(a), [*NAMES["a"], "Committed"])
    for connection in (b, a):
        same("Committed" in names(a), True)
        rows(connection, "DELETE FROM tenants WHERE name = 'Committed'")
    same(names(a), NAMES["a"])


def rollback(a, _b):
    a.autocommit = False
    add(a, "tenant_a", "Rolled back")
    a.rollback()
    add(a, "tenant_a", "Undone")
    refused("22012", lambda: rows(a, "SELECT 1 / %s", (0,)))
    refused("25P02", lambda: rows(a, "SELECT 1"))
    a.rollback()
    a.autocommit = True
    same(names(a), NAMES["a"])


def prepared_statements(a, b):
    for connection in (a, b):
        sql = "SELECT name FROM tenants WHERE $1 >= 0 ORDER BY name"
        rows(connection, f"PREPARE by_name (int) AS {sql}")
    for turn in range(20):
        for connection, own in ((a, "a"), (b, "b")):
            seen = rows(connection, "EXECUTE by_name (%s)", (turn,))
            same([name for (name,) in seen], NAMES[own])
    for connection in (a, b):
        rows(connection, "DEALLOCATE by_name")


def large_parameter(a, _b):
    text = "größer " * 150_000
    expected = hashlib.md5(text.encode()).hexdigest()
    same(rows(a, "SELECT md5(%s), %s", (text, text)), [(expected, text)])


def error(a, b):
    for connection in (a, b, a):
        refused("22012", lambda: rows(connection, "SELECT 1 / %s", (0,)))
        refused("42P01", lambda: rows(connection, "SELECT nothing FROM nowhere"))
    same(names(a), NAMES["a"])


def cancel(a, b):
    query = f"SELECT pg_sleep({random.randint(100, 900)})"
    sql = (
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active'"
        " AND pid <> pg_backend_pid() AND query = %s"
    )
    threading.Thread(target=lambda: cancel_when(a, b, sql, query)).start()
    refused("57014", lambda: rows(a, query))
    same(names(a), NAMES["a"])


def cancel_when(a, b, sql, query):
    deadline = time.monotonic() + 30
    while rows(b, sql, (query,)) == [(0,)] and time.monotonic() < deadline:
        time.sleep(0.02)
    a.cancel()


def pool_return(a, b):
    a.close()
    b.close()
    pools = {key: ThreadedConnectionPool(1, 2, **fields(key)) for key in "ab"}
    for turn in range(16):
        key = "ab"[turn % 2]
        connection = pools[key].getconn()
        same(names(connection), NAMES[key])
        PIDS[key].add(rows(connection, "SELECT pg_backend_pid()")[0][0])
        pools[key].putconn(connection)
    for pool in pools.values():
        pool.closeall()
    for key in "abab":
        connection = connect(key, SERIAL_PORT)
        same(names(connection), NAMES[key])
        pid, *left = rows(
            connection,
            "SELECT pg_backend_pid(), to_regclass('left_behind')::text,"
            " nullif(current_setting('app.note', true), '')",
        )[0]
        PIDS[key].add(pid)
        same(left, [None, None])
        rows(connection, "SELECT set_config('app.note', %s, false)", (key,))
        rows(connection, "CREATE TEMPORARY TABLE left_behind (n int)")
        connection.close()


def percent_encoded_url(_a, _b):
    for key in "ab":
        tls = f"sslmode=verify-full&sslrootcert={quote(CA, safe='')}" if CA else "sslmode=disable"
        url = f"postgresql://{quote(user(key), safe='')}:{PASSWORD}@{HOST}:{PORT}/{DATABASE}?{tls}"
        connection = psycopg2.connect(url)
        same(names(connection), NAMES[key])
        same(rows(connection, "SELECT current_setting('app.user_id')"), [(PERSON[key],)])
        connection.close()


CHECKS = {
    "isolation": isolation,
    "transaction": transaction,
    "rollback": rollback,
    "prepared statements": prepared_statements,
    "large parameter": large_parameter,
    "error": error,
    "cancel": cancel,
    "pool return": pool_return,
    "percent-encoded URL": percent_encoded_url,
}


def main():
    library = psycopg2.extensions.libpq_version()
    version = f"{psycopg2.__version__.split(' ')[0]} (libpq {library // 10000}.{library % 10000})"
    print(json.dumps({"version": version, "on": f"Python {platform.python_version()}"}))
    a, b = connect("a"), connect("b")
    for check, work in CHECKS.items():
        try:
            work(a, b)
            print(json.dumps({"check": check, "result": "pass"}))
        except Exception as failure:
            print(json.dumps({"check": check, "result": "fail", "why": repr(failure)}))
    print(json.dumps({"pids": {key: sorted(pids) for key, pids in PIDS.items()}}))


main()
