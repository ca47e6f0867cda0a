// JDBC: the checks of js/scenario.mjs. Run as it is: java -cp postgresql.jar JdbcClient.java

import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeSet;

public class JdbcClient {
    interface Check {
        String run(Connection a, Connection b) throws Exception;
    }

    interface Work {
        void run() throws Exception;
    }

    static final Map<String, List<String>> NAMES =
        Map.of("a", List.of("Alice Corp", "Alice LLC"), "b", List.of("Bob Inc", "Bob Ltd"));
    static final Map<String, String> PERSON = Map.of("a", "ann", "b", "bob");
    static final Map<String, TreeSet<String>> PIDS =
        new LinkedHashMap<>(Map.of("a", new TreeSet<>(), "b", new TreeSet<>()));
    static final String RUNNING = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' "
        + "AND pid <> pg_backend_pid() AND query = ?";

    static String env(String name) {
        return System.getenv().getOrDefault("COMPAT_" + name, "");
    }

    static String user(String key) {
        return env("ROLE") + ".tenant_" + key + ":" + PERSON.get(key);
    }

    static String place(String port) {
        return "jdbc:postgresql://" + env("HOST") + ":" + env(port) + "/" + env("DATABASE");
    }

    static Connection connect(String key, String port) throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", user(key));
        properties.setProperty("password", env("PASSWORD"));
        properties.setProperty("sslmode", env("CA").isEmpty() ? "disable" : "verify-full");
        if (!env("CA").isEmpty()) properties.setProperty("sslrootcert", env("CA"));
        return DriverManager.getConnection(place(port), properties);
    }

    static String encoded(String text) {
        return URLEncoder.encode(text, StandardCharsets.UTF_8);
    }

    static Connection connectUrl(String key) throws SQLException {
        String tls = env("CA").isEmpty()
            ? "sslmode=disable"
            : "sslmode=verify-full&sslrootcert=" + encoded(env("CA"));
        return DriverManager.getConnection(place("PORT") + "?user=" + encoded(user(key))
            + "&password=" + encoded(env("PASSWORD")) + "&" + tls);
    }

    static List<List<String>> rows(Connection c, String sql, Object... values) throws SQLException {
        try (PreparedStatement statement = c.prepareStatement(sql)) {
            for (int at = 0; at < values.length; at++) statement.setObject(at + 1, values[at]);
            List<List<String>> rows = new ArrayList<>();
            if (!statement.execute()) return rows;
            ResultSet result = statement.getResultSet();
            int columns = result.getMetaData().getColumnCount();
            while (result.next()) {
                List<String> row = new ArrayList<>();
                for (int at = 1; at <= columns; at++) row.add(result.getString(at));
                rows.add(row);
            }
            return rows;
        }
    }

    static List<String> names(Connection c) throws SQLException {
        List<String> names = new ArrayList<>();
        for (List<String> row : rows(c, "SELECT name FROM tenants ORDER BY name")) {
            names.add(row.get(0));
        }
        return names;
    }

    static void add(Connection c, String tenant, String name) throws SQLException {
        rows(c, "INSERT INTO tenants (tenant_id, name) VALUES (?, ?)", tenant, name);
    }

    static void same(Object seen, Object expected) {
        if (!seen.equals(expected)) throw new AssertionError(seen + " and not " + expected);
    }

    static List<String> and(List<String> names, String more) {
        List<String> all = new ArrayList<>(names);
        all.add(more);
        return all;
    }

    static void refused(String state, Work work) throws Exception {
        try {
            work.run();
        } catch (SQLException error) {
            same(String.valueOf(error.getSQLState()), state);
            return;
        }
        throw new AssertionError("this should fail with " + state);
    }

    static String isolation(Connection a, Connection b) throws Exception {
        for (String own : List.of("a", "b")) {
            Connection c = own.equals("a") ? a : b;
            String other = own.equals("a") ? "tenant_b" : "tenant_a";
            same(names(c), NAMES.get(own));
            same(rows(c, "SELECT count(*) FROM tenants WHERE tenant_id = ?", other),
                List.of(List.of("0")));
            refused("42501", () -> add(c, other, "smuggled"));
            same(rows(c, "SELECT current_setting('app.current_tenant_id'), "
                + "current_setting('app.user_id'), current_user"),
                List.of(List.of("tenant_" + own, PERSON.get(own), env("ROLE"))));
        }
        return "pass";
    }

    static String transaction(Connection a, Connection b) throws Exception {
        a.setAutoCommit(false);
        add(a, "tenant_a", "Committed");
        same(names(a), and(NAMES.get("a"), "Committed"));
        same(names(b), NAMES.get("b"));
        a.commit();
        a.setAutoCommit(true);
        for (Connection c : List.of(b, a)) {
            same(names(a), and(NAMES.get("a"), "Committed"));
            rows(c, "DELETE FROM tenants WHERE name = 'Committed'");
        }
        same(names(a), NAMES.get("a"));
        return "pass";
    }

    static String rollback(Connection a, Connection b) throws Exception {
        a.setAutoCommit(false);
        add(a, "tenant_a", "Rolled back");
        a.rollback();
        add(a, "tenant_a", "Undone");
        refused("22012", () -> rows(a, "SELECT 1 / ?::int", 0));
        a.rollback();
        a.setAutoCommit(true);
        same(names(a), NAMES.get("a"));
        return "pass";
    }

    /** The driver names a statement on the server from the fifth time on. */
    static String prepared(Connection a, Connection b) throws Exception {
        String sql = "SELECT name FROM tenants WHERE ?::int >= 0 ORDER BY name";
        try (PreparedStatement ofA = a.prepareStatement(sql);
            PreparedStatement ofB = b.prepareStatement(sql)) {
            for (int turn = 0; turn < 20; turn++) {
                for (PreparedStatement statement : List.of(ofA, ofB)) {
                    statement.setInt(1, turn);
                    List<String> names = new ArrayList<>();
                    ResultSet result = statement.executeQuery();
                    while (result.next()) names.add(result.getString(1));
                    same(names, NAMES.get(statement == ofA ? "a" : "b"));
                }
            }
        }
        return "pass";
    }

    static String large(Connection a, Connection b) throws Exception {
        String text = "größer ".repeat(150_000);
        byte[] sum = MessageDigest.getInstance("MD5").digest(text.getBytes(StandardCharsets.UTF_8));
        StringBuilder expected = new StringBuilder();
        for (byte one : sum) expected.append(String.format("%02x", one));
        List<String> row = rows(a, "SELECT md5(?::text), ?::text", text, text).get(0);
        same(row.get(0), expected.toString());
        same(row.get(1).equals(text), true);
        return "pass";
    }

    static String error(Connection a, Connection b) throws Exception {
        for (Connection c : List.of(a, b, a)) {
            refused("22012", () -> rows(c, "SELECT 1 / ?::int", 0));
            refused("42P01", () -> rows(c, "SELECT nothing FROM nowhere"));
        }
        same(names(a), NAMES.get("a"));
        return "pass";
    }

    static String cancel(Connection a, Connection b) throws Exception {
        String query = "SELECT pg_sleep(" + (100 + (int) (Math.random() * 800)) + ")";
        try (Statement statement = a.createStatement()) {
            Thread canceller = new Thread(() -> {
                try {
                    long deadline = System.nanoTime() + 30_000_000_000L;
                    while (rows(b, RUNNING, query).get(0).get(0).equals("0")
                        && System.nanoTime() < deadline) Thread.sleep(20);
                    statement.cancel();
                } catch (Exception error) {
                    error.printStackTrace();
                }
            });
            canceller.start();
            refused("57014", () -> statement.execute(query));
            canceller.join();
            statement.setQueryTimeout(1);
            refused("57014", () -> statement.execute("SELECT pg_sleep(60)"));
        }
        same(names(a), NAMES.get("a"));
        return "pass";
    }

    static String poolReturn(Connection a, Connection b) throws Exception {
        a.close();
        b.close();
        for (String key : List.of("a", "b", "a", "b", "a", "b")) {
            try (Connection c = connect(key, "SERIAL_PORT")) {
                same(names(c), NAMES.get(key));
                List<String> row = rows(c, "SELECT pg_backend_pid(), "
                    + "to_regclass('left_behind')::text, "
                    + "nullif(current_setting('app.note', true), '')").get(0);
                PIDS.get(key).add(row.get(0));
                same(row.subList(1, 3), Arrays.asList(null, null));
                rows(c, "SELECT set_config('app.note', ?, false)", key);
                rows(c, "CREATE TEMPORARY TABLE left_behind (n int)");
            }
        }
        return "pass";
    }

    static String url(Connection a, Connection b) throws Exception {
        for (String key : List.of("a", "b")) {
            try (Connection c = connectUrl(key)) {
                same(names(c), NAMES.get(key));
                same(rows(c, "SELECT current_setting('app.user_id')"),
                    List.of(List.of(PERSON.get(key))));
            }
        }
        return "pass";
    }

    static String quoted(String text) {
        return "\"" + text.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n")
            .replace("\r", "").replace("\t", " ") + "\"";
    }

    public static void main(String[] args) throws Exception {
        Map<String, Check> checks = new LinkedHashMap<>();
        checks.put("isolation", JdbcClient::isolation);
        checks.put("transaction", JdbcClient::transaction);
        checks.put("rollback", JdbcClient::rollback);
        checks.put("prepared statements", JdbcClient::prepared);
        checks.put("large parameter", JdbcClient::large);
        checks.put("error", JdbcClient::error);
        checks.put("cancel", JdbcClient::cancel);
        checks.put("pool return", JdbcClient::poolReturn);
        checks.put("percent-encoded URL", JdbcClient::url);
        Connection a = connect("a", "PORT");
        Connection b = connect("b", "PORT");
        System.out.printf("{\"version\": %s, \"on\": %s}%n",
            quoted("pgJDBC " + a.getMetaData().getDriverVersion()),
            quoted("Java " + System.getProperty("java.version")));
        for (Map.Entry<String, Check> one : checks.entrySet()) {
            String more;
            try {
                more = "\"result\": " + quoted(one.getValue().run(a, b));
            } catch (Throwable error) {
                more = "\"result\": \"fail\", \"why\": " + quoted(error.toString());
            }
            System.out.printf("{\"check\": %s, %s}%n", quoted(one.getKey()), more);
        }
        System.out.printf("{\"pids\": {\"a\": %s, \"b\": %s}}%n", PIDS.get("a"), PIDS.get("b"));
    }
}
