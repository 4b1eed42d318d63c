package email

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
	"google.golang.org/api/gmail/v1"

	"fte/support"
)

// orphanAge is how old a draft of ours must be before anybody may think it
// forgotten, GM-18.
const orphanAge = time.Hour

// Replies says what a draft is still good for.
type Replies interface {
	// DraftNeeded says whether the reply with this key may still be sent from this
	// draft: it is support.ErrNotFound where there is no such reply.
	DraftNeeded(ctx context.Context, key, draftID string) (bool, error)
}

// Sweep deletes drafts that a crash left behind, GM-18: those with our key whose
// reply is finished or has another draft. What is not ours is left alone.
func (c *Client) Sweep(ctx context.Context, replies Replies) (deleted int, err error) {
	var drafts []string
	for token := ""; ; {
		var page *gmail.ListDraftsResponse
		err := c.read(ctx, "list the drafts", costList, callTime, func(ctx context.Context) (err error) {
			page, err = c.users.Drafts.List(me).MaxResults(500).PageToken(token).Context(ctx).Do()
			return err
		})
		if err != nil {
			return 0, fmt.Errorf("sweep drafts: %w", err)
		}
		for _, d := range page.Drafts {
			drafts = append(drafts, d.Id)
		}
		if token = page.NextPageToken; token == "" {
			break
		}
	}
	for _, id := range drafts {
		gone, err := c.sweep(ctx, id, replies)
		if err != nil {
			return deleted, fmt.Errorf("sweep drafts: %w", err)
		}
		if gone {
			deleted++
			c.log.Info("orphan draft deleted", zap.String("draft_id", id))
		}
	}
	return deleted, nil
}

func (c *Client) sweep(ctx context.Context, id string, replies Replies) (deleted bool, err error) {
	var d *gmail.Draft
	err = c.read(ctx, "read a draft", costGet, callTime, func(ctx context.Context) (err error) {
		d, err = c.users.Drafts.Get(me, id).Format("metadata").Context(ctx).Do()
		return err
	})
	if errors.Is(err, support.ErrNotFound) { // sent or deleted since
		return false, nil
	}
	if err != nil || d.Message == nil {
		return false, err
	}
	key := headerOfMessage(d.Message, keyHeader)
	if key == "" || time.Since(time.UnixMilli(d.Message.InternalDate)) < c.scaled(orphanAge) {
		return false, nil
	}
	switch needed, err := replies.DraftNeeded(ctx, key, id); {
	case errors.Is(err, support.ErrNotFound): // another installation's, perhaps
		return false, nil
	case err != nil || needed:
		return false, err
	}
	if err := c.quota.take(ctx, costDraft, costSend); err != nil {
		return false, err
	}
	err = c.call(ctx, "delete a draft", callTime, func(ctx context.Context) error { return c.users.Drafts.Delete(me, id).Context(ctx).Do() })
	if err = judged(err); errors.Is(err, support.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
