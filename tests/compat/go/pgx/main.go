// pgx 5 with its own pool.
package main

import (
	"context"
	"errors"
	"runtime/debug"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"pgvpd.test/compat/scenario"
)

type pool struct{ *pgxpool.Pool }

type querier struct {
	query func(context.Context, string, ...any) (pgx.Rows, error)
}

func (q querier) Rows(sql string, values ...any) ([][]string, error) {
	result, err := q.query(context.Background(), sql, values...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(result, func(row pgx.CollectableRow) ([]string, error) {
		texts := make([]*string, len(row.FieldDescriptions()))
		places := make([]any, len(texts))
		for at := range texts {
			places[at] = &texts[at]
		}
		err := row.Scan(places...)
		values := make([]string, len(texts))
		for at, text := range texts {
			if text != nil {
				values[at] = *text
			}
		}
		return values, err
	})
}

func (p pool) Rows(sql string, values ...any) ([][]string, error) {
	return querier{p.Query}.Rows(sql, values...)
}

func (p pool) Transaction(work func(scenario.Querier) error) error {
	return pgx.BeginFunc(context.Background(), p.Pool, func(tx pgx.Tx) error {
		return work(querier{tx.Query})
	})
}

func (p pool) Cancel(sql string, cancel <-chan struct{}) error {
	conn, err := p.Acquire(context.Background())
	if err != nil {
		return err
	}
	defer conn.Release()
	go func() {
		<-cancel
		_ = conn.Conn().PgConn().CancelRequest(context.Background())
	}()
	_, err = querier{conn.Query}.Rows(sql)
	return err
}

func connect(url string) (scenario.Handle, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	config.MaxConns = 2
	made, err := pgxpool.NewWithConfig(context.Background(), config)
	return pool{made}, err
}

func state(err error) string {
	var told *pgconn.PgError
	if errors.As(err, &told) {
		return told.Code
	}
	return ""
}

func main() {
	version := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			if dep.Path == "github.com/jackc/pgx/v5" {
				version = dep.Version
			}
		}
	}
	scenario.Run(scenario.Client{Version: version, Connect: connect, State: state})
}
