"""The checks of js/scenario.mjs for the Python clients, each of which is an Adapter."""

import hashlib
import json
import os
import platform
import random
import time
from urllib.parse import quote

ROLE, PASSWORD, HOST, DATABASE, PORT, SERIAL_PORT = (
    os.environ[f"COMPAT_{name}"]
    for name in ("ROLE", "PASSWORD", "HOST", "DATABASE", "PORT", "SERIAL_PORT")
)
CA = os.environ.get("COMPAT_CA", "")
NAMES = {"a": ["Alice Corp", "Alice LLC"], "b": ["Bob Inc", "Bob Ltd"]}
PERSON = {"a": "ann", "b": "bob"}
PATIENCE_S = 30
RUNNING = (
    "SELECT count(*) FROM pg_stat_activity WHERE state = 'active'"
    " AND pid <> pg_backend_pid() AND query = $1"
)


class Adapter:
    """What a client has to offer. SQL has $1 ..., and connections commit by themselves."""

    version = ""
    # Whether a cancelled call fails without the server's words.
    cancel_hides = False

    def connect(self, user, port):
        raise NotImplementedError

    def connect_url(self, url):
        raise NotImplementedError

    def close(self, connection):
        connection.close()

    def rows(self, connection, sql, values=()):
        """Rows as tuples; none where there is no result."""
        raise NotImplementedError

    def prepare(self, connection, sql):
        """A function of the values, which runs what has been prepared once."""
        raise NotImplementedError

    def cancel(self, connection, sql, is_running):
        """Runs the statement, cancels it as soon as is_running(), and raises its error."""
        raise NotImplementedError

    def pool(self, user):
        """A pool of two, with acquire(), release(connection) and close()."""
        raise NotImplementedError

    def state(self, error):
        """The SQLSTATE in an error, or None."""
        raise NotImplementedError


def user(key):
    return f"{ROLE}.tenant_{key}:{PERSON[key]}"


def same(seen, expected):
    assert seen == expected, f"{seen!r} and not {expected!r}"


class Checks:
    def __init__(self, adapter):
        self.adapter = adapter
        self.rows = adapter.rows
        self.pids = {"a": set(), "b": set()}

    def names(self, connection):
        return [name for (name,) in self.rows(connection, "SELECT name FROM tenants ORDER BY name")]

    def add(self, connection, tenant, name):
        sql = "INSERT INTO tenants (tenant_id, name) VALUES ($1, $2)"
        self.rows(connection, sql, (tenant, name))

    def refused(self, state, work):
        try:
            work()
        except Exception as error:
            seen = self.adapter.state(error)
            assert seen == state, f"{seen} and not {state}: {error!r}"
            return
        raise AssertionError(f"this should fail with {state}")

    def isolation(self, a, b):
        for connection, own, other in ((a, "a", "b"), (b, "b", "a")):
            same(self.names(connection), NAMES[own])
            sql = "SELECT count(*) FROM tenants WHERE tenant_id = $1"
            same(self.rows(connection, sql, (f"tenant_{other}",)), [(0,)])
            self.refused("42501", lambda: self.add(connection, f"tenant_{other}", "smuggled"))
            seen = self.rows(
                connection,
                "SELECT current_setting('app.current_tenant_id'),"
                " current_setting('app.user_id'), current_user::text",
            )
            same(seen, [(f"tenant_{own}", PERSON[own], ROLE)])

    def transaction(self, a, b):
        self.rows(a, "BEGIN")
        self.add(a, "tenant_a", "Committed")
        same(self.names(a), [*NAMES["a"], "Committed"])
        same(self.names(b), NAMES["b"])
        self.rows(a, "COMMIT")
        for connection in (b, a):
            same(self.names(a), [*NAMES["a"], "Committed"])
            self.rows(connection, "DELETE FROM tenants WHERE name = 'Committed'")
        same(self.names(a), NAMES["a"])

    def rollback(self, a, _b):
        self.rows(a, "BEGIN")
        self.add(a, "tenant_a", "Rolled back")
        self.rows(a, "ROLLBACK")
        self.rows(a, "BEGIN")
        self.add(a, "tenant_a", "Undone")
        self.refused("22012", lambda: self.rows(a, "SELECT 1 / $1::int", (0,)))
        self.refused("25P02", lambda: self.rows(a, "SELECT 1"))
        self.rows(a, "ROLLBACK")
        same(self.names(a), NAMES["a"])

    def prepared_statements(self, a, b):
        sql = "SELECT name FROM tenants WHERE $1::int >= 0 ORDER BY name"
        both = [(self.adapter.prepare(a, sql), "a"), (self.adapter.prepare(b, sql), "b")]
        for turn in range(20):
            for run, own in both:
                same([name for (name,) in run((turn,))], NAMES[own])

    def large_parameter(self, a, _b):
        text = "größer " * 150_000
        expected = hashlib.md5(text.encode()).hexdigest()
        same(self.rows(a, "SELECT md5($1::text), $2::text", (text, text)), [(expected, text)])

    def error(self, a, b):
        for connection in (a, b, a):
            self.refused("22012", lambda: self.rows(connection, "SELECT 1 / $1::int", (0,)))
            self.refused("42P01", lambda: self.rows(connection, "SELECT nothing FROM nowhere"))
        same(self.names(a), NAMES["a"])

    def cancel(self, a, b):
        query = f"SELECT pg_sleep({random.randint(100, 900)})"
        deadline = time.monotonic() + PATIENCE_S

        def is_running():
            assert time.monotonic() < deadline, "in vain: it runs, or has ended"
            return self.rows(b, RUNNING, (query,)) == [(1,)]

        if self.adapter.cancel_hides:
            try:
                self.adapter.cancel(a, query, is_running)
            except BaseException:
                pass
            else:
                raise AssertionError("this should fail")
        else:
            self.refused("57014", lambda: self.adapter.cancel(a, query, is_running))
        while is_running():
            time.sleep(0.02)
        same(self.names(a), NAMES["a"])

    def pool_return(self, a, b):
        self.adapter.close(a)
        self.adapter.close(b)
        pools = {key: self.adapter.pool(user(key)) for key in "ab"}
        for turn in range(16):
            key = "ab"[turn % 2]
            connection = pools[key].acquire()
            same(self.names(connection), NAMES[key])
            self.pids[key].add(self.rows(connection, "SELECT pg_backend_pid()")[0][0])
            pools[key].release(connection)
        for pool in pools.values():
            pool.close()
        for key in "abab":
            connection = self.adapter.connect(user(key), SERIAL_PORT)
            same(self.names(connection), NAMES[key])
            pid, *left = self.rows(
                connection,
                "SELECT pg_backend_pid(), to_regclass('left_behind')::text,"
                " nullif(current_setting('app.note', true), '')",
            )[0]
            self.pids[key].add(pid)
            same(left, [None, None])
            self.rows(connection, "SELECT set_config('app.note', $1, false)", (key,))
            self.rows(connection, "CREATE TEMPORARY TABLE left_behind (n int)")
            self.adapter.close(connection)

    def percent_encoded_url(self, _a, _b):
        tls = f"sslmode=verify-full&sslrootcert={quote(CA, safe='')}" if CA else "sslmode=disable"
        for key in "ab":
            login = f"{quote(user(key), safe='')}:{quote(PASSWORD, safe='')}"
            url = f"postgresql://{login}@{HOST}:{PORT}/{DATABASE}?{tls}"
            connection = self.adapter.connect_url(url)
            same(self.names(connection), NAMES[key])
            seen = self.rows(connection, "SELECT current_setting('app.user_id')")
            same(seen, [(PERSON[key],)])
            self.adapter.close(connection)


def run(adapter):
    print(json.dumps({"version": adapter.version, "on": f"Python {platform.python_version()}"}))
    a, b = (adapter.connect(user(key), PORT) for key in "ab")
    checks = Checks(adapter)
    for check, work in {
        "isolation": checks.isolation,
        "transaction": checks.transaction,
        "rollback": checks.rollback,
        "prepared statements": checks.prepared_statements,
        "large parameter": checks.large_parameter,
        "error": checks.error,
        "cancel": checks.cancel,
        "pool return": checks.pool_return,
        "percent-encoded URL": checks.percent_encoded_url,
    }.items():
        try:
            work(a, b)
            print(json.dumps({"check": check, "result": "pass"}))
        except Exception as failure:
            print(json.dumps({"check": check, "result": "fail", "why": repr(failure)}))
    print(json.dumps({"pids": {key: sorted(pids) for key, pids in checks.pids.items()}}))
