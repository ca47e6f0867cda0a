# Ruby's pg: the checks of js/scenario.mjs.

require "cgi"
require "digest"
require "json"
require "pg"

ROLE, PASSWORD, HOST, PORT, DATABASE = %w[ROLE PASSWORD HOST PORT DATABASE].map do |name|
  ENV.fetch("COMPAT_#{name}")
end
SERIAL_PORT = ENV.fetch("COMPAT_SERIAL_PORT")
CA = ENV.fetch("COMPAT_CA", "")
NAMES = { "a" => ["Alice Corp", "Alice LLC"], "b" => ["Bob Inc", "Bob Ltd"] }.freeze
PERSON = { "a" => "ann", "b" => "bob" }.freeze
PIDS = { "a" => [], "b" => [] }
TLS = CA.empty? ? { sslmode: "disable" } : { sslmode: "verify-full", sslrootcert: CA }
$stdout.sync = true

def user(key) = "#{ROLE}.tenant_#{key}:#{PERSON[key]}"

def connect(key, port = PORT)
  PG.connect(host: HOST, port: port, dbname: DATABASE, user: user(key), password: PASSWORD, **TLS)
end

def names(conn) = conn.exec("SELECT name FROM tenants ORDER BY name").column_values(0)

def add(conn, tenant, name)
  conn.exec_params("INSERT INTO tenants (tenant_id, name) VALUES ($1, $2)", [tenant, name])
end

def same(seen, expected)
  raise "#{seen.inspect} and not #{expected.inspect}" unless seen == expected
end

def refused(state)
  yield
rescue PG::Error => e
  same(e.result&.error_field(PG::PG_DIAG_SQLSTATE), state)
else
  raise "this should fail with #{state}"
end

def isolation(a, b)
  [[a, "a", "b"], [b, "b", "a"]].each do |conn, own, other|
    same(names(conn), NAMES[own])
    sql = "SELECT count(*) FROM tenants WHERE tenant_id = $1"
    same(conn.exec_params(sql, ["tenant_#{other}"]).getvalue(0, 0), "0")
    refused("42501") { add(conn, "tenant_#{other}", "smuggled") }
    seen = conn.exec("SELECT current_setting('app.current_tenant_id'),
      current_setting('app.user_id'), current_user").values
    same(seen, [["tenant_#{own}", PERSON[own], ROLE]])
  end
end

def transaction(a, b)
  a.transaction do
    add(a, "tenant_a", "Committed")
    same(names(a), [*NAMES["a"], "Committed"])
    same(names(b), NAMES["b"])
  end
  [b, a].each do |conn|
    same(names(a), [*NAMES["a"], "Committed"])
    conn.exec("DELETE FROM tenants WHERE name = 'Committed'")
  end
  same(names(a), NAMES["a"])
end

def rollback(a, _b)
  refused("22012") do
    a.transaction do
      add(a, "tenant_a", "Undone")
      a.exec_params("SELECT 1 / $1::int", [0])
    end
  end
  same(names(a), NAMES["a"])
end

def prepared(a, b)
  [a, b].each do |conn|
    conn.prepare("by_name", "SELECT name FROM tenants WHERE $1::int >= 0 ORDER BY name")
  end
  20.times do |turn|
    [[a, "a"], [b, "b"]].each do |conn, own|
      same(conn.exec_prepared("by_name", [turn]).column_values(0), NAMES[own])
    end
  end
end

def large(a, _b)
  text = "größer " * 150_000
  sum, back = a.exec_params("SELECT md5($1::text), $1::text", [text]).values[0]
  same(sum, Digest::MD5.hexdigest(text))
  same(back == text, true)
end

def error(a, b)
  [a, b, a].each do |conn|
    refused("22012") { conn.exec_params("SELECT 1 / $1::int", [0]) }
    refused("42P01") { conn.exec("SELECT nothing FROM nowhere") }
  end
  same(names(a), NAMES["a"])
end

def cancel(a, b)
  query = "SELECT pg_sleep(#{rand(100..900)})"
  a.send_query(query)
  deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + 30
  running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active'
    AND pid <> pg_backend_pid() AND query = $1"
  while b.exec_params(running, [query]).getvalue(0, 0) == "0"
    raise "in vain: it runs" if Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline
    sleep 0.02
  end
  same(a.cancel, nil)
  refused("57014") { a.get_last_result }
  same(names(a), NAMES["a"])
end

def pool_return(a, b)
  [a, b].each(&:close)
  %w[a b a b a b].each do |key|
    conn = connect(key, SERIAL_PORT)
    same(names(conn), NAMES[key])
    pid, *left = conn.exec("SELECT pg_backend_pid(), to_regclass('left_behind')::text,
      nullif(current_setting('app.note', true), '')").values[0]
    PIDS[key] |= [pid.to_i]
    same(left, [nil, nil])
    conn.exec_params("SELECT set_config('app.note', $1, false)", [key])
    conn.exec("CREATE TEMPORARY TABLE left_behind (n int)")
    conn.close
  end
end

def url(_a, _b)
  %w[a b].each do |key|
    tls = CA.empty? ? "sslmode=disable" : "sslmode=verify-full&sslrootcert=#{CGI.escape(CA)}"
    conn = PG.connect("postgresql://#{CGI.escape(user(key))}:#{PASSWORD}@#{HOST}:#{PORT}/#{DATABASE}?#{tls}")
    same(names(conn), NAMES[key])
    same(conn.exec("SELECT current_setting('app.user_id')").getvalue(0, 0), PERSON[key])
    conn.close
  end
end

library = PG.library_version
version = "#{PG::VERSION} (libpq #{library / 10_000}.#{library % 10_000})"
puts JSON.generate({ version: version, on: "Ruby #{RUBY_VERSION}" })
a, b = %w[a b].map { |key| connect(key) }
{
  "isolation" => :isolation, "transaction" => :transaction, "rollback" => :rollback,
  "prepared statements" => :prepared, "large parameter" => :large, "error" => :error,
  "cancel" => :cancel, "pool return" => :pool_return, "percent-encoded URL" => :url
}.each do |check, work|
  method(work).call(a, b)
  puts JSON.generate({ check: check, result: "pass" })
rescue StandardError => e
  puts JSON.generate({ check: check, result: "fail", why: e.full_message(highlight: false) })
end
puts JSON.generate({ pids: PIDS })
