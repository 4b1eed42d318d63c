package email

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/mail"
	"slices"
	"strconv"
	"time"

	"go.uber.org/zap"
	"google.golang.org/api/gmail/v1"

	"fte/support"
)

// Drafts is what a Sender keeps of the replies it sends. Each method is one
// durable statement.
type Drafts interface {
	// StoreDraft records the draft of a claimed reply. It is support.ErrStale when
	// the claim has moved on or the reply has a draft: nothing may be sent then.
	StoreDraft(ctx context.Context, o support.Outbound, draftID string) error
	// StoreMessageID records the Message-ID under which a reply was sent.
	StoreMessageID(ctx context.Context, o support.Outbound, messageID string) error
}

// SenderConfig is what sending takes.
type SenderConfig struct {
	Client *Client // required
	Drafts Drafts  // required
	// Name is shown beside our address; From is the address, an alias of the
	// mailbox. It defaults to the mailbox.
	Name, From string
	// Now dates mails. Defaults to time.Now.
	Now func() time.Time
	// Log takes what happens. Defaults to none.
	Log *zap.Logger
}

// Sender sends mails through drafts, GM-18: a draft is stored with its reply
// before it is sent and is consumed by that, so that sending it again never makes
// a second mail. It is safe for concurrent use.
type Sender struct {
	cfg    SenderConfig
	client *Client
	from   mail.Address
	log    *zap.Logger
}

// NewSender checks cfg and fills its defaults.
func NewSender(cfg SenderConfig) (*Sender, error) {
	if cfg.Client == nil || cfg.Drafts == nil {
		return nil, errors.New("send mail: Client and Drafts are required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.From == "" {
		cfg.From = cfg.Client.Mailbox()
	}
	if _, _, err := CanonicalEmail(cfg.From); err != nil {
		return nil, fmt.Errorf("send mail: From: %w", err)
	}
	return &Sender{cfg: cfg, client: cfg.Client, from: mail.Address{Name: cfg.Name, Address: cfg.From}, log: cfg.Log.Named("email")}, nil
}

// Send makes a draft of a reply, unless it has one, and sends it. It returns
// Gmail's id of the mail. A *support.SendError says what a failure means: before
// the draft is sent nothing has left, whatever happened.
func (s *Sender) Send(ctx context.Context, o support.Outbound) (string, error) {
	draft := o.DraftID
	if draft == "" {
		var err error
		if draft, err = s.draft(ctx, o); err != nil {
			return "", fmt.Errorf("draft mail %s: %w", o.Key(), err)
		}
		if err := s.cfg.Drafts.StoreDraft(ctx, o, draft); err != nil {
			// Nothing is sent. A draft that is not stored is swept away.
			return "", fmt.Errorf("draft mail %s: %w", o.Key(), &support.SendError{Code: "draft_not_stored", Err: err})
		}
	}
	id, err := s.sendDraft(ctx, draft)
	if err != nil {
		return "", fmt.Errorf("send mail %s: %w", o.Key(), err)
	}
	s.learn(ctx, o, id)
	return id, nil
}

// draft makes a draft of a reply in its thread, or in none where the mailbox has
// not got the thread, GM-17.
func (s *Sender) draft(ctx context.Context, o support.Outbound) (string, error) {
	raw, err := compose(o, s.from, s.cfg.Now())
	if err != nil {
		return "", &support.SendError{Permanent: true, Code: "cannot_be_composed", Err: err}
	}
	m := &gmail.Message{Raw: base64.URLEncoding.EncodeToString(raw), ThreadId: o.Thread}
	id, err := s.createDraft(ctx, m)
	if status(err) == http.StatusNotFound && m.ThreadId != "" {
		m.ThreadId = ""
		id, err = s.createDraft(ctx, m)
	}
	if err != nil {
		return "", notSent(err)
	}
	return id, nil
}

func (s *Sender) createDraft(ctx context.Context, m *gmail.Message) (id string, err error) {
	err = s.write(ctx, "make a draft", costDraft, &sending{}, func(ctx context.Context) error {
		d, err := s.client.users.Drafts.Create(me, &gmail.Draft{Message: m}).Fields("id").Context(ctx).Do()
		if err == nil {
			id = d.Id
		}
		return err
	})
	if err == nil && id == "" {
		err = errors.New("the answer names no draft")
	}
	return id, err
}

// sendDraft sends a draft once.
func (s *Sender) sendDraft(ctx context.Context, draft string) (id string, err error) {
	out := &sending{}
	err = s.write(ctx, "send a draft", costSend, out, func(ctx context.Context) error {
		m, err := s.client.users.Drafts.Send(me, &gmail.Draft{Id: draft}).Fields("id").Context(ctx).Do()
		if err == nil {
			id = m.Id
		}
		return err
	})
	switch {
	case err == nil && id != "":
		return id, nil
	case err == nil:
		return "", &support.SendError{Unknown: true, Down: true, Code: "unreadable", Err: errors.New("Gmail's answer names no mail")}
	case !out.wrote.Load(), slices.Contains([]int{400, 401, 403, 413}, status(err)):
		return "", notSent(err)
	}
	code := strconv.Itoa(status(err))
	if status(err) == 0 {
		code = "no_answer"
	}
	return "", &support.SendError{Unknown: true, Down: status(err) != http.StatusNotFound, Code: code, LookIn: retryAfter(err), Err: judged(err)}
}

// write makes a call that changes something, once.
func (s *Sender) write(ctx context.Context, what string, units int, out *sending, do func(ctx context.Context) error) error {
	if err := s.client.quota.take(ctx, units, 0); err != nil {
		return err
	}
	if err := support.MayWrite(ctx); err != nil { // waiting for units may have taken long
		return fmt.Errorf("%w: %w", errGate, err)
	}
	return s.client.call(out.context(ctx), what, callTime, do)
}

// notSent judges a failure before which nothing can have left.
func notSent(err error) error {
	code := status(err)
	e := &support.SendError{Code: strconv.Itoa(code), RetryIn: retryAfter(err), Err: judged(err)}
	switch {
	case errors.Is(err, errGate):
		e.Code = "gate"
	case errors.Is(err, errQuota):
		e.Code, e.RetryIn = "quota", time.Second
	case code == 0:
		e.Code, e.Down = "unreachable", true
	case code == http.StatusBadRequest, code == http.StatusRequestEntityTooLarge:
		e.Permanent = true
	case code == http.StatusNotFound:
		e.Refusal = true
	default: // our credentials, our quota, or the vendor as a whole
		e.Down = true
	}
	return e
}

// learnTime bounds learning a Message-ID: it is worth one try.
const learnTime = 3 * time.Second

// learn stores the Message-ID that Gmail gave a sent mail in place of ours, by
// which a bounce may name it. Without it a bounce is understood by our key alone.
func (s *Sender) learn(ctx context.Context, o support.Outbound, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), learnTime)
	defer cancel()
	err := s.client.quota.take(ctx, costGet, costSend)
	var m *gmail.Message
	if err == nil {
		err = s.client.call(ctx, "read a sent mail", learnTime, func(ctx context.Context) (err error) {
			m, err = s.client.users.Messages.Get(me, id).Format("metadata").MetadataHeaders("Message-ID").Context(ctx).Do()
			return err
		})
	}
	if err == nil {
		if name := messageID(m); name != "" {
			err = s.cfg.Drafts.StoreMessageID(ctx, o, name)
		}
	}
	if err != nil {
		s.log.Warn("Message-ID of a sent mail not learnt", zap.String("customer_id", string(o.Customer)), zap.Int64("seq", o.Seq), zap.Error(judged(err)))
	}
}
