// lib/pq beneath database/sql.
package main

import (
	"context"
	"database/sql"
	"errors"
	"runtime/debug"

	"github.com/lib/pq"

	"pgvpd.test/compat/scenario"
)

type pool struct{ *sql.DB }

type querier struct {
	query func(context.Context, string, ...any) (*sql.Rows, error)
}

func (q querier) Rows(text string, values ...any) ([][]string, error) {
	return q.rows(context.Background(), text, values...)
}

func (q querier) rows(ctx context.Context, text string, values ...any) ([][]string, error) {
	result, err := q.query(ctx, text, values...)
	if err != nil {
		return nil, err
	}
	defer result.Close()
	columns, err := result.Columns()
	if err != nil {
		return nil, err
	}
	all := [][]string{}
	for result.Next() {
		texts := make([]sql.NullString, len(columns))
		places := make([]any, len(columns))
		for at := range texts {
			places[at] = &texts[at]
		}
		if err := result.Scan(places...); err != nil {
			return nil, err
		}
		row := make([]string, len(columns))
		for at := range texts {
			row[at] = texts[at].String
		}
		all = append(all, row)
	}
	return all, result.Err()
}

func (p pool) Rows(text string, values ...any) ([][]string, error) {
	return querier{p.QueryContext}.Rows(text, values...)
}

func (p pool) Transaction(work func(scenario.Querier) error) error {
	tx, err := p.Begin()
	if err != nil {
		return err
	}
	if err := work(querier{tx.QueryContext}); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

func (p pool) Cancel(text string, cancel <-chan struct{}) error {
	ctx, end := context.WithCancel(context.Background())
	defer end()
	go func() {
		<-cancel
		end()
	}()
	_, err := querier{p.QueryContext}.rows(ctx, text)
	return err
}

func (p pool) Close() { _ = p.DB.Close() }

func connect(url string) (scenario.Handle, error) {
	db, err := sql.Open("postgres", url)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(2)
	return pool{db}, db.Ping()
}

func state(err error) string {
	var told *pq.Error
	if errors.As(err, &told) {
		return string(told.Code)
	}
	return ""
}

func main() {
	version := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			if dep.Path == "github.com/lib/pq" {
				version = dep.Version
			}
		}
	}
	scenario.Run(scenario.Client{
		Version: version, Connect: connect, State: state, CancelHides: true,
	})
}
