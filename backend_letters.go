package main

import (
	"context"
	"time"

	"fte/ingress/console"
	"fte/support"
)

// byOperator is who replays or purges through the one operator token.
const byOperator = "operator"

func letterJSON(l support.DeadLetter) object {
	return object{"id": l.ID, "topic": l.Topic, "partition": l.Partition, "offset": l.Offset, "channel": none(l.Channel), "external_id": none(l.ExternalID),
		"state": l.State, "reason": l.Reason, "error": none(l.Error), "tries": l.Tries, "next_at": when(l.NextAt), "first_at": l.FirstAt, "last_at": l.LastAt, "by": none(l.By)}
}

func (b *backend) DeadLetters(ctx context.Context, q console.Query) (console.Document, error) {
	limit := q.Limit
	if limit == 0 || limit > 200 {
		limit = 50
	}
	rows, err := b.letters.List(ctx, support.DeadLetterState(q.State), q.After, limit+1)
	if err != nil {
		return nil, err
	}
	l := listing[object]{Items: []object{}, AsOf: time.Now(), View: b.node.View().Number}
	for i, row := range rows {
		if i == limit {
			l.Next = rows[i-1].ID
			break
		}
		l.Items = append(l.Items, letterJSON(row))
	}
	return l, nil
}

func (b *backend) DeadLetter(ctx context.Context, id string) (console.Document, error) {
	l, err := b.letters.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	o := letterJSON(l)
	o["as_of"], o["view"] = time.Now(), b.node.View().Number
	return o, nil
}

func (b *backend) ReplayDeadLetter(ctx context.Context, id string) error {
	_, err := b.letters.Replay(ctx, id, byOperator)
	return err
}

func (b *backend) PurgeDeadLetter(ctx context.Context, id string) error {
	_, err := b.letters.Purge(ctx, id, byOperator)
	return err
}
