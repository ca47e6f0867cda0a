// Package scenario holds the checks of js/scenario.mjs for the Go clients.
package scenario

import (
	"crypto/md5"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand"
	"net/url"
	"os"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"time"
)

// Querier runs SQL and gives every row's values as texts, a null as the empty one.
type Querier interface {
	Rows(sql string, values ...any) ([][]string, error)
}

// Handle is a pool of one tenant.
type Handle interface {
	Querier
	// Transaction commits unless work fails.
	Transaction(work func(Querier) error) error
	// Cancel runs SQL until cancel is closed, and returns its error.
	Cancel(sql string, cancel <-chan struct{}) error
	Close()
}

// Client is what one library has to say for itself.
type Client struct {
	Version string
	Connect func(url string) (Handle, error)
	// State is the SQLSTATE in an error.
	State func(error) string
	// CancelHides is true where a cancelled call fails without the server's words.
	CancelHides bool
}

type tenant struct {
	key, person string
	names       []string
}

var (
	tenantA = tenant{"a", "ann", []string{"Alice Corp", "Alice LLC"}}
	tenantB = tenant{"b", "bob", []string{"Bob Inc", "Bob Ltd"}}
)

const running = `SELECT count(*)::text FROM pg_stat_activity WHERE state = 'active'
	AND pid <> pg_backend_pid() AND query = $1`

func env(name string) string { return os.Getenv("COMPAT_" + name) }

// URL is the tenant's login; url.UserPassword encodes the colon.
func (t tenant) URL() string { return t.urlTo("PORT") }

func (t tenant) urlTo(port string) string {
	tls := "sslmode=disable"
	if env("CA") != "" {
		tls = "sslmode=verify-full&sslrootcert=" + url.QueryEscape(env("CA"))
	}
	login := url.URL{
		Scheme: "postgresql", Host: env("HOST") + ":" + env(port), Path: "/" + env("DATABASE"),
		User:     url.UserPassword(env("ROLE")+".tenant_"+t.key+":"+t.person, env("PASSWORD")),
		RawQuery: tls,
	}
	return login.String()
}

func say(fact any) {
	line, err := json.Marshal(fact)
	must(err)
	fmt.Println(string(line))
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func same(seen, expected any) {
	if !reflect.DeepEqual(seen, expected) {
		panic(fmt.Errorf("%v and not %v", seen, expected))
	}
}

func rows(q Querier, sql string, values ...any) [][]string {
	all, err := q.Rows(sql, values...)
	must(err)
	return all
}

func names(q Querier) []string {
	all := []string{}
	for _, row := range rows(q, "SELECT name FROM tenants ORDER BY name") {
		all = append(all, row[0])
	}
	return all
}

func and(names []string, more string) []string { return append(append([]string{}, names...), more) }

func add(q Querier, tenantID, name string) error {
	_, err := q.Rows("INSERT INTO tenants (tenant_id, name) VALUES ($1, $2)", tenantID, name)
	return err
}

type world struct {
	client Client
	a, b   Handle
	lock   sync.Mutex
	pids   map[string]map[string]bool
}

func (w *world) refused(err error, state string) {
	if err == nil {
		panic(errors.New("this should fail with " + state))
	}
	if seen := w.client.State(err); seen != state {
		panic(fmt.Errorf("%s and not %s: %w", seen, state, err))
	}
}

func (w *world) isolation() {
	for _, one := range []struct {
		h          Handle
		own, other tenant
	}{{w.a, tenantA, tenantB}, {w.b, tenantB, tenantA}} {
		same(names(one.h), one.own.names)
		other := "tenant_" + one.other.key
		sql := "SELECT count(*)::text FROM tenants WHERE tenant_id = $1"
		same(rows(one.h, sql, other), [][]string{{"0"}})
		w.refused(add(one.h, other, "smuggled"), "42501")
		seen := rows(one.h, `SELECT current_setting('app.current_tenant_id'),
			current_setting('app.user_id'), current_user::text`)
		same(seen, [][]string{{"tenant_" + one.own.key, one.own.person, env("ROLE")}})
	}
}

func (w *world) transaction() {
	must(w.a.Transaction(func(tx Querier) error {
		must(add(tx, "tenant_a", "Committed"))
		same(names(tx), and(tenantA.names, "Committed"))
		same(names(w.b), tenantB.names)
		return nil
	}))
	for _, h := range []Handle{w.b, w.a} {
		same(names(w.a), and(tenantA.names, "Committed"))
		rows(h, "DELETE FROM tenants WHERE name = 'Committed'")
	}
	same(names(w.a), tenantA.names)
}

func (w *world) rollback() {
	away := errors.New("away with it")
	err := w.a.Transaction(func(tx Querier) error {
		must(add(tx, "tenant_a", "Rolled back"))
		return away
	})
	same(errors.Is(err, away), true)
	w.refused(w.a.Transaction(func(tx Querier) error {
		must(add(tx, "tenant_a", "Undone"))
		_, err := tx.Rows("SELECT (1 / $1::int)::text", 0)
		return err
	}), "22012")
	same(names(w.a), tenantA.names)
}

func (w *world) prepared() {
	for turn := 0; turn < 20; turn++ {
		sql := "SELECT name FROM tenants WHERE $1::int >= 0 ORDER BY name"
		same(rows(w.a, sql, turn), [][]string{{tenantA.names[0]}, {tenantA.names[1]}})
		same(rows(w.b, sql, turn), [][]string{{tenantB.names[0]}, {tenantB.names[1]}})
	}
}

func (w *world) large() {
	text := strings.Repeat("größer ", 150_000)
	row := rows(w.a, "SELECT md5($1::text), $1::text", text)[0]
	same(row[0], fmt.Sprintf("%x", md5.Sum([]byte(text))))
	same(row[1] == text, true)
}

func (w *world) failing() {
	for _, h := range []Handle{w.a, w.b, w.a} {
		_, err := h.Rows("SELECT (1 / $1::int)::text", 0)
		w.refused(err, "22012")
		_, err = h.Rows("SELECT nothing FROM nowhere")
		w.refused(err, "42P01")
	}
	same(names(w.a), tenantA.names)
}

func (w *world) cancel() {
	query := fmt.Sprintf("SELECT pg_sleep(%d)::text", 100+rand.Intn(800))
	cancel, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- w.a.Cancel(query, cancel) }()
	w.until("1", query)
	close(cancel)
	if err := <-done; w.client.CancelHides {
		same(err != nil, true)
	} else {
		w.refused(err, "57014")
	}
	w.until("0", query)
	same(names(w.a), tenantA.names)
}

func (w *world) until(count, query string) {
	for end := time.Now().Add(30 * time.Second); rows(w.b, running, query)[0][0] != count; {
		if time.Now().After(end) {
			panic(errors.New("in vain: " + count + " of " + query))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (w *world) seen(key, pid string) {
	w.lock.Lock()
	defer w.lock.Unlock()
	w.pids[key][pid] = true
}

func (w *world) poolReturn() {
	failures := make(chan error, 16)
	for turn := 0; turn < 16; turn++ {
		h, own := w.a, tenantA
		if turn%2 == 1 {
			h, own = w.b, tenantB
		}
		go func() {
			failures <- guarded(func() {
				must(h.Transaction(func(tx Querier) error {
					same(names(tx), own.names)
					w.seen(own.key, rows(tx, "SELECT pg_backend_pid()::text")[0][0])
					return nil
				}))
			})
		}()
	}
	for turn := 0; turn < 16; turn++ {
		must(<-failures)
	}
	w.a.Close()
	w.b.Close()
	for _, own := range []tenant{tenantA, tenantB, tenantA, tenantB} {
		h, err := w.client.Connect(own.urlTo("SERIAL_PORT"))
		must(err)
		same(names(h), own.names)
		row := rows(h, `SELECT pg_backend_pid()::text, to_regclass('left_behind')::text,
			nullif(current_setting('app.note', true), '')`)[0]
		w.seen(own.key, row[0])
		same(row[1:], []string{"", ""})
		rows(h, "SELECT set_config('app.note', $1, false)", own.key)
		rows(h, "CREATE TEMPORARY TABLE left_behind (n int)")
		h.Close()
	}
}

// Every login of the Go clients is by such a URL; this one is looked at.
func (w *world) url() {
	same(strings.Contains(tenantA.URL(), "tenant_a%3Aann:"), true)
	h, err := w.client.Connect(tenantA.URL())
	must(err)
	defer h.Close()
	same(rows(h, "SELECT current_setting('app.user_id')"), [][]string{{"ann"}})
}

func guarded(work func()) (failure error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			failure = fmt.Errorf("%v", panicked)
		}
	}()
	work()
	return nil
}

// Run says the result of every check, a line of JSON each.
func Run(client Client) {
	say(map[string]string{"version": client.Version, "on": "Go " + runtime.Version()[2:]})
	w := &world{client: client, pids: map[string]map[string]bool{"a": {}, "b": {}}}
	var err error
	w.a, err = client.Connect(tenantA.URL())
	must(err)
	w.b, err = client.Connect(tenantB.URL())
	must(err)
	for _, one := range []struct {
		check string
		work  func()
	}{
		{"isolation", w.isolation}, {"transaction", w.transaction}, {"rollback", w.rollback},
		{"prepared statements", w.prepared}, {"large parameter", w.large}, {"error", w.failing},
		{"cancel", w.cancel}, {"pool return", w.poolReturn}, {"percent-encoded URL", w.url},
	} {
		if failure := guarded(one.work); failure != nil {
			say(map[string]string{"check": one.check, "result": "fail", "why": failure.Error()})
			continue
		}
		say(map[string]string{"check": one.check, "result": "pass"})
	}
	pids := map[string][]string{"a": {}, "b": {}}
	for key, seen := range w.pids {
		for pid := range seen {
			pids[key] = append(pids[key], pid)
		}
	}
	say(map[string]any{"pids": pids})
}
